// Who a plugin is to a server that it is a client of, as its settings `user` and `passwordFile`
// say.
#pragma once

#include <string>

namespace orch::login {

// Fails, naming the setting, unless there are both or neither, the user is 1 to 128 printable
// characters without a colon and the path is absolute.
void checkLogin(const std::string& user, const std::string& passwordFile);

// The first line of the file; empty where no file is. Blocks. Fails, naming the setting, if it
// cannot be read or says nothing.
std::string readPassword(const std::string& passwordFile);

}  // namespace orch::login
