// The walls around the process that reads strangers' archives.
#pragma once

#include <string>

namespace orch::image::oci {

// For the rest of this process's life: of the files of the host it sees the store's folder, and the
// source read-only, under the names that they have; it has no network, starts no program, and keeps
// of root's capabilities those that the files of an image take. Needs root. Fails if the kernel
// cannot do one of these: nothing of the archive has been read then.
void confine(const std::string& root, const std::string& job, const std::string& source);

}  // namespace orch::image::oci
