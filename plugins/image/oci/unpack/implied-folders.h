// Folders that a layer is in need of and does not name: `srv/a` alone. Such a folder keeps the mode
// and the owner that it has below. A layer is unpacked once, whatever is below it, and overlayfs
// shows the topmost folder's: so an image that needs it gets one more layer on top, of these
// folders alone. Blocking; for the unpacker.
#pragma once

#include <sys/stat.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace orch::image::oci {

// Marks those folders of a layer, the working directory, that it does not name; paths within it.
void markImplied(const std::set<std::string>& paths);

// Mode and owner by path, parents before what is in them.
using FolderTable = std::map<std::string, struct stat>;

// Those of an image that would be shown with another mode or owner than they have, and their
// parents. `layers` are the layers' folders, the lowest first.
FolderTable impliedFolders(const std::vector<std::string>& layers);

// A name for a layer of them, as a digest of what it holds.
std::string digestOf(const FolderTable& folders);
// Makes them in `layer`, an empty folder.
void makeFolders(const std::string& layer, const FolderTable& folders);

}  // namespace orch::image::oci
