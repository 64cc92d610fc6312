// One layer, from its bytes to a folder that can be a lower part of an overlay. Pure but for the
// folder: no state, no network. Blocking, and it changes the process's working directory while it
// runs, so it is for the unpacker and for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace orch::image::oci {

struct LayerStats {
  std::string diffId;          // sha256 of the uncompressed tar
  uint64_t tarBytes = 0;       // of the uncompressed tar
  uint64_t unpackedBytes = 0;  // of the files
};

// Reads a tar (plain, gzip, zstd or xz) from the descriptor's position to its end into `folder`,
// which exists and is empty. Whiteouts become overlayfs's own: a character device 0/0, and the
// attribute trusted.overlay.opaque. Symbolic links on the way to an entry are followed within the
// folder, as in a container. Refused, by name of the entry: names with '..', and those that are too
// deep or too long (layer-path.h). Refused as a whole: more than two million entries, more than
// `maxBytes` of tar, or of files with 4 KiB for each entry. After a failure the folder holds a
// part; the caller removes it. `onBytes` is told how far into the compressed bytes it is.
LayerStats unpackLayer(int fd, const std::string& folder, uint64_t maxBytes,
                       const std::function<void(uint64_t)>& onBytes);

}  // namespace orch::image::oci
