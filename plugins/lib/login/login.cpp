#include "login/login.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "orch/fail.h"

namespace orch::login {

void checkLogin(const std::string& user, const std::string& passwordFile) {
  if (user.empty() != passwordFile.empty()) {
    fail(kj::str("user and passwordFile: one is of no use without the other"));
  }
  if (user.empty()) return;
  bool good = user.size() <= 128 && std::all_of(user.begin(), user.end(), [](char c) {
                return c > ' ' && c < 127 && c != ':';
              });
  if (!good) {
    fail(kj::str("user is '", user.c_str(),
                 "'; accepted: 1 to 128 printable characters without a colon"));
  }
  if (passwordFile[0] != '/') {
    fail(kj::str("passwordFile is '", passwordFile.c_str(), "'; accepted: an absolute path"));
  }
}

std::string readPassword(const std::string& passwordFile) {
  if (passwordFile.empty()) return {};
  std::ifstream file(passwordFile);
  if (!file) {
    fail(kj::str("passwordFile: cannot read '", passwordFile.c_str(), "': ", strerror(errno)));
  }
  std::string line;
  std::getline(file, line);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  if (line.empty()) {
    fail(kj::str("passwordFile: the first line of '", passwordFile.c_str(),
                 "' is empty; the password has to stand there"));
  }
  return line;
}

}  // namespace orch::login
