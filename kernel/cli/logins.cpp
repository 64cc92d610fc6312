#include "logins.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/image-reference.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr kj::StringPtr DOCKER_HUB = "docker.io"_kj;

struct Who {
  std::string user;
  std::string password;
};
using Logins = std::map<std::string, Who>;  // by registry

std::string decoded(const std::string& text) {
  auto bytes = kj::decodeBase64(kj::ArrayPtr<const char>(text.data(), text.size()));
  return {bytes.asChars().begin(), bytes.size()};
}

// A line for each: the registry, the user and the password, the last two in base64.
Logins readLogins(const std::string& path) {
  Logins logins;
  struct stat info;
  if (path.empty() || (stat(path.c_str(), &info) < 0 && errno == ENOENT)) return logins;
  std::ifstream file(path);
  if (!file) fail(kj::str("cannot read '", path.c_str(), "': ", strerror(errno)));
  if ((info.st_mode & 077) != 0) {
    fail(kj::str("others can read the passwords in '", path.c_str(), "'; chmod 600 it"));
  }
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string registry, user, password;
    if (!(words >> registry >> user >> password)) {
      fail(kj::str("'", path.c_str(), "' is damaged; remove it, and log in again"));
    }
    logins[registry] = {decoded(user), decoded(password)};
  }
  return logins;
}

void writeLogins(const std::string& path, const Logins& logins) {
  for (auto end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    auto folder = path.substr(0, end);
    if (mkdir(folder.c_str(), 0700) < 0 && errno != EEXIST) failFile("make", folder, errno);
  }
  auto encoded = [](const std::string& text) {
    return kj::encodeBase64(kj::StringPtr(text.c_str(), text.size()).asBytes());
  };
  kj::Vector<kj::String> lines;
  for (auto& [registry, who] : logins) {
    lines.add(kj::str(registry.c_str(), " ", encoded(who.user), " ", encoded(who.password), "\n"));
  }
  replaceFile(path, kj::strArray(lines, "").asBytes(), Outlives::POWER);
}

}  // namespace

kj::String loginsPath() {
  const char* config = getenv("XDG_CONFIG_HOME");
  if (config != nullptr && *config == '/') return kj::str(config, "/orch/logins");
  const char* home = getenv("HOME");
  if (home == nullptr || *home != '/') return kj::String();
  return kj::str(home, "/.config/orch/logins");
}

kj::String parseRegistry(kj::StringPtr text) {
  for (auto hub : {"index.docker.io"_kj, "https://index.docker.io/v1/"_kj, "hub.docker.com"_kj}) {
    if (text == hub) return kj::str(DOCKER_HUB);
  }
  auto image = kj::str(text, "/x");
  auto parsed = attemptNow([&] { return parseImageReference(image).registry; });
  if (!parsed.ok() || parsed.value() != text.cStr()) {
    badValue("REGISTRY", text,
             "a registry as in names of images: docker.io, registry.example.com or host:5000");
  }
  return kj::str(text);
}

void keepLogin(schema::RegistryLogin::Reader login) {
  std::string path = loginsPath().cStr();
  if (path.empty()) fail(kj::str("cannot keep the login: HOME is not set"));
  auto logins = readLogins(path);
  logins[login.getRegistry().cStr()] = {login.getUser().cStr(), login.getPassword().cStr()};
  writeLogins(path, logins);
}

bool dropLogin(kj::StringPtr registry) {
  std::string path = loginsPath().cStr();
  auto logins = readLogins(path);
  if (logins.erase(registry.cStr()) == 0) return false;
  writeLogins(path, logins);
  return true;
}

bool findLogin(kj::StringPtr image, schema::RegistryLogin::Builder login) {
  auto parsed = attemptNow([&] { return parseImageReference(image).registry; });
  if (!parsed.ok()) return false;
  auto registry = parsed.value();
  auto logins = readLogins(loginsPath().cStr());
  auto found = logins.find(registry);
  if (found == logins.end()) return false;
  login.setRegistry(registry.c_str());
  login.setUser(found->second.user.c_str());
  login.setPassword(found->second.password.c_str());
  return true;
}

}  // namespace orch::cli
