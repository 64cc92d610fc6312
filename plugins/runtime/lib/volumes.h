// Named volumes, and those of a container's own. All of it blocks: for worker threads.
#pragma once

#include <string>
#include <vector>

#include "rootfs.h"

namespace orch::runtime {

// The folder `_data` in `volume`, made on first use with what the image has at `target`, owners,
// modes and extended attributes included. A volume appears in one step: whoever makes the same one
// at the same time gets the first. `unique` names the half-made one, `<volume>.new-<unique>`.
std::string ensureVolume(const std::string& volume, const std::string& unique,
                         const RootFolder& rootfs, const std::string& target);
// Names of the volumes in a folder, sorted. Half-made ones are left out.
std::vector<std::string> listVolumes(const std::string& folder);
// What a crash left half-made.
void removeHalfMadeVolumes(const std::string& folder);
// Folder and content; gone already is success.
void removeTree(const std::string& path);

}  // namespace orch::runtime
