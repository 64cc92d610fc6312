// Archives of images, laid out in a folder so that their parts can be read in any order. Blocking;
// for the unpacker.
#pragma once

#include <cstdint>
#include <string>

#include "unpack/source.h"

namespace orch::image::oci {

// Looks what the tar at `path` is (plain, gzip, zstd or xz). One of images is laid out in `folder`,
// which is made: of a docker archive the files that its manifest.json names, of an OCI layout its
// documents and blobs, nothing else of either. Fails if it is no archive, if it is damaged, and if
// these files are larger than `maxBytes` together.
Source::Kind layOut(const std::string& path, const std::string& folder, uint64_t maxBytes);

}  // namespace orch::image::oci
