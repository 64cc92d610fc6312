// Names that are made of ids: of files, and of network devices.
#pragma once

#include <kj/string.h>

#include <string>

namespace orch::network {

// The id of a task or a network is a file's name: 1 to 64 characters of [a-zA-Z0-9_.-], not
// beginning with a dot.
bool isId(kj::StringPtr text);
// A network device's: `prefix`, of two characters, and a hash of 13 over `text`, the same in every
// run.
std::string linkNameOf(kj::StringPtr prefix, const std::string& text);

}  // namespace orch::network
