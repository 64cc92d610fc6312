#include "lib/kernel-switch.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/io.h>
#include <string.h>
#include <unistd.h>

#include "orch/fail.h"

namespace orch::network {

bool isOn(kj::StringPtr path) {
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  kj::AutoCloseFd reader(fd);
  char now = 0;
  return read(fd, &now, 1) == 1 && now == '1';
}

void switchOn(kj::StringPtr path) {
  if (isOn(path)) return;
  int fd = open(path.cStr(), O_WRONLY | O_CLOEXEC);
  kj::AutoCloseFd writer(fd);
  if (fd < 0 || write(fd, "1", 1) != 1) {
    fail(
        kj::str("cannot write 1 to ", path, ": ", strerror(errno), "; set it before orchd starts"));
  }
}

}  // namespace orch::network
