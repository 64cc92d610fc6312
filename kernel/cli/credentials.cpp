#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/io.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::cli {

namespace {

constexpr size_t MAX_FILE = 64 << 10;

std::string readAll(int fd) {
  char buffer[MAX_FILE];
  auto n = kj::FdInputStream(fd).tryRead(buffer, sizeof(buffer), sizeof(buffer));
  return std::string(buffer, n);
}

std::string keyFile(kj::StringPtr folder) { return kj::str(folder, "/admin.key").cStr(); }
std::string certificateFile(kj::StringPtr folder) { return kj::str(folder, "/admin.pem").cStr(); }
bool isThere(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// Empty if there is no such file.
std::string readWhole(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return {};
  if (fd < 0) failFile("read", path, errno);
  kj::AutoCloseFd file(fd);
  return readAll(file.get());
}

void requireOwn(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) < 0) failFile("read", path, errno);
  if ((info.st_mode & 077) == 0) return;
  fail(kj::str("others may read the key '", path.c_str(),
               "': 'chmod 600' it; if somebody may have, 'orch admin rm' and make a new one"));
}

}  // namespace

kj::String credentialsFolder(kj::StringPtr given) {
  if (given.size() > 0) return kj::str(given);
  const char* told = getenv("ORCH_CREDENTIALS");
  if (told != nullptr && *told != 0) return kj::str(told);
  const char* home = getenv("HOME");
  if (home == nullptr || *home == 0) {
    fail(kj::str("there is no HOME: say with --credentials in which folder the key is"));
  }
  return kj::str(home, "/.orch");
}

std::string readPem(kj::StringPtr what, kj::StringPtr name) {
  if (name == "-") return readAll(STDIN_FILENO);
  int fd = open(name.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(kj::str("cannot read the ", what, " '", name, "': ", strerror(errno)));
  kj::AutoCloseFd file(fd);
  return readAll(file.get());
}

AdminCredentials readCredentials(kj::StringPtr folder, int64_t nowNs) {
  AdminCredentials found;
  found.key = readWhole(keyFile(folder));
  auto both = readWhole(certificateFile(folder));
  if (found.key.empty()) {
    fail(kj::str("there are no credentials in '", folder,
                 "': 'orch admin request' makes a key there and says what to do with it; name "
                 "another folder with --credentials"));
  }
  requireOwn(keyFile(folder));
  if (both.empty()) {
    fail(kj::str("there is a key in '", folder,
                 "' and no certificate: keep as admin.pem beside it what 'orch admin add --request "
                 "FILE NAME' prints on a manager"));
  }
  auto certificates = trust::certificatesIn(both);
  if (certificates.empty()) {
    fail(kj::str("'", folder, "/admin.pem' holds no certificate as 'orch admin add' prints it"));
  }
  found.certificate = certificates[0];
  for (size_t i = 1; i < certificates.size(); ++i) found.authority += certificates[i];
  auto whose = kj::str("the certificate in '", folder, "'");
  trust::checkTimes(found.certificate, whose, nowNs,
                    "is the clock right? if so, 'orch admin rm' and 'orch admin add' make a new "
                    "one");
  trust::checkSigned(found.certificate, found.authority, found.key);
  return found;
}

Renewal renewalOf(const AdminCredentials& own, int64_t nowNs) {
  auto holder = trust::holderOf(own.certificate);
  auto at = [&](double chance) {
    return trust::renewalNs(holder.notBeforeNs, holder.notAfterNs, chance);
  };
  constexpr double DIGITS = 1 << 16;
  auto chance = std::stoul(holder.fingerprint.substr(0, 4), nullptr, 16) / DIGITS;
  return nowNs < at(chance) ? Renewal::NOT_YET : nowNs < at(1) ? Renewal::DUE : Renewal::LATE;
}

void requireRoomForRenewed(kj::StringPtr folder) {
  if (access(folder.cStr(), W_OK) < 0) failFile("write to", folder.cStr(), errno);
}

void keepRenewed(kj::StringPtr folder, const AdminCredentials& own, const std::string& certificate,
                 const std::string& authorities) {
  auto& trusted = authorities.empty() ? own.authority : authorities;
  trust::checkSigned(certificate, trusted, own.key);
  writeCredentials(folder, "", certificate + trusted);
}

void requireRoomForCredentials(kj::StringPtr folder) {
  if (isThere(certificateFile(folder))) {
    fail(kj::str("there are credentials in '", folder,
                 "' already: name another folder, or remove admin.key and admin.pem"));
  }
  if (mkdir(folder.cStr(), 0700) < 0 && errno != EEXIST) failFile("make", folder.cStr(), errno);
}

void writeCredentials(kj::StringPtr folder, const std::string& key,
                      const std::string& certificates) {
  auto write = [](const std::string& path, const std::string& text) {
    if (!text.empty()) {
      replaceFile(path, kj::StringPtr(text.c_str()).asBytes(), Outlives::POWER, 0600);
    }
  };
  write(keyFile(folder), key);
  write(certificateFile(folder), certificates);
}

}  // namespace orch::cli
