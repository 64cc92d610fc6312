#include "tokens.h"

#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "orch/fail.h"

namespace orch::api::http {

namespace {

constexpr std::pair<const char*, Role> ROLES[] = {
    {"metrics", Role::METRICS}, {"read", Role::READ}, {"change", Role::CHANGE}};

}  // namespace

Tokens::Digest Tokens::digestOf(const std::string& token) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

Tokens Tokens::parse(const std::string& text, const std::string& name) {
  Tokens tokens;
  std::istringstream lines(text);
  std::string line;
  for (unsigned number = 1; std::getline(lines, line); ++number) {
    auto bad = [&](const char* why) {
      fail(kj::str(
          name.c_str(), ":", number, ": ", why,
          "; accepted: 'metrics TOKEN', 'read TOKEN' or 'change TOKEN', with a token of at least ",
          MIN_TOKEN_CHARACTERS, " printable characters"));
    };
    std::istringstream words(line.substr(0, line.find('#')));
    std::string role, token, more;
    words >> role >> token >> more;
    if (role.empty()) continue;
    auto granted = Role::NONE;
    for (auto& [word, meant] : ROLES) {
      if (role == word) granted = meant;
    }
    if (granted == Role::NONE) bad("no role");
    if (!more.empty()) bad("more than a role and a token");
    bool printable =
        std::all_of(token.begin(), token.end(), [](char c) { return c > 32 && c < 127; });
    if (token.size() < MIN_TOKEN_CHARACTERS || !printable) bad("no token");
    if (tokens.roles.size() >= MAX_TOKENS) bad("too many tokens");
    if (!tokens.roles.emplace(digestOf(token), granted).second)
      bad("a token that is there already");
  }
  if (tokens.roles.empty()) {
    fail(kj::str(name.c_str(), ": there is no token in it, so that nobody could read anything"));
  }
  return tokens;
}

Role Tokens::roleOf(const std::string& authorization) const {
  constexpr std::string_view BEARER = "Bearer ";
  if (authorization.size() <= BEARER.size()) return Role::NONE;
  if (strncasecmp(authorization.c_str(), BEARER.data(), BEARER.size()) != 0) return Role::NONE;
  auto found = roles.find(digestOf(authorization.substr(BEARER.size())));
  return found == roles.end() ? Role::NONE : found->second;
}

std::string readTokenFile(const std::string& path) {
  constexpr size_t MAX_BYTES = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  struct stat status = {};
  if (!file || stat(path.c_str(), &status) != 0) {
    fail(kj::str("tokenFile: cannot read '", path.c_str(), "': ", strerror(errno)));
  }
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    fail(kj::str("tokenFile: others than its owner may read or write '", path.c_str(),
                 "'; chmod 600 it"));
  }
  std::string text(MAX_BYTES + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > MAX_BYTES)
    fail(kj::str("tokenFile: '", path.c_str(), "' is larger than 1 MiB"));
  return text;
}

}  // namespace orch::api::http
