// Taking folders away, however deep they are. Blocking: for worker threads and for the unpacker.
#pragma once

#include <string>

namespace orch::image::oci {

// Removes a folder and all in it, or whatever else is at `path`; symbolic links are not followed.
// Gone already is success. Needs three descriptors at any depth, and a name's length of memory per
// level. On failure a part may be gone.
void removeTree(const std::string& path);

}  // namespace orch::image::oci
