#include "lib/kernel-switch.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/io.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>

#include "orch/fail.h"

namespace orch::network {

bool isIn(kj::StringPtr path, char position) {
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  kj::AutoCloseFd reader(fd);
  char now = 0;
  return read(fd, &now, 1) == 1 && now == position;
}

bool isOn(kj::StringPtr path) { return isIn(path, '1'); }

bool hasIpv6() { return isIn("/proc/sys/net/ipv6/conf/default/disable_ipv6", '0'); }

void forwardIpv6() {
  constexpr kj::StringPtr FORWARDS = "/proc/sys/net/ipv6/conf/all/forwarding"_kj;
  if (isOn(FORWARDS)) return;
  for (auto& entry : std::filesystem::directory_iterator("/proc/sys/net/ipv6/conf")) {
    auto name = entry.path().filename();
    if (name == "all" || name == "default") continue;  // not for devices to come
    auto hears = kj::str(entry.path().c_str(), "/accept_ra");
    if (isOn(hears)) switchTo(hears, '2');
  }
  switchOn(FORWARDS);
}

void switchOn(kj::StringPtr path) { switchTo(path, '1'); }

void switchTo(kj::StringPtr path, char position) {
  if (isIn(path, position)) return;
  int fd = open(path.cStr(), O_WRONLY | O_CLOEXEC);
  kj::AutoCloseFd writer(fd);
  if (fd < 0 || write(fd, &position, 1) != 1) {
    fail(kj::str("cannot write ", position, " to ", path, ": ", strerror(errno),
                 "; set it before orchd starts"));
  }
}

}  // namespace orch::network
