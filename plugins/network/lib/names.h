// Names that are made of ids: of files, and of network devices.
#pragma once

#include <kj/string.h>

#include <string>

namespace orch::network {

// The id of a task or a network is a file's name: 1 to 64 characters of [a-zA-Z0-9_.-], not
// beginning with a dot.
bool isId(kj::StringPtr text);
// Fails, saying so, unless it is one.
void checkTaskId(kj::StringPtr text);
// The longest name of an nftables table that is accepted.
constexpr size_t LONGEST_TABLE_NAME = 64;
// A device's or a table's, as a user set it: 1 to `longest` characters of [a-zA-Z0-9_.-], not
// beginning with a dot or a dash. Fails with a text that names the setting.
std::string nameOf(kj::StringPtr setting, kj::StringPtr text, size_t longest);
// A network device's: `prefix`, of two characters, and a hash of 13 over `text`, the same in every
// run.
std::string linkNameOf(kj::StringPtr prefix, const std::string& text);

}  // namespace orch::network
