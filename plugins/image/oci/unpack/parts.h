// What another host has sent, looked at before anything is done with it. Files are called by the 64
// digits of their digest. Blocking; for the unpacker.
#pragma once

#include <string>
#include <vector>

#include "unpack/oci-json.h"

namespace orch::image::oci {

// The configuration and the layers, each once, of the manifest in a file. Fails if its content is
// another than its name says, or if it is no image's.
std::vector<BlobRef> partsOf(const std::string& path);

// Names of those files in a folder whose content is another than they say.
std::vector<std::string> damagedIn(const std::string& folder);

}  // namespace orch::image::oci
