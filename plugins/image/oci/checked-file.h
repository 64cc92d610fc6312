// Small files whose content is either the last one that was written, or refused by name: written to
// a new file, synced and renamed; read against a checksum that stands before the content. Blocking:
// call it on a worker thread.
#pragma once

#include <kj/array.h>
#include <kj/common.h>

#include <string>

namespace orch::image::oci {

// Replaces the file at `path`, durably. On failure the old one stays and nothing is left beside it.
void writeChecked(const std::string& path, kj::ArrayPtr<const kj::byte> content);
// Nothing if there is no such file. Fails if it is damaged: `what` names it for the user ("index of
// images"), `remedy` says what to do. The content is aligned to 8 bytes.
kj::Maybe<kj::Array<kj::byte>> readChecked(const std::string& path, const char* what,
                                           const char* remedy);

// Durable entries of a folder: what was made, renamed or removed in it.
void syncFolder(const std::string& path);

}  // namespace orch::image::oci
