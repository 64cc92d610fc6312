#include "lib/kernel-switch.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/io.h>
#include <string.h>
#include <unistd.h>

#include "orch/fail.h"

namespace orch::network {

namespace {
bool isAt(kj::StringPtr path, char position) {
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  kj::AutoCloseFd reader(fd);
  char now = 0;
  return read(fd, &now, 1) == 1 && now == position;
}
}  // namespace

bool isOn(kj::StringPtr path) { return isAt(path, '1'); }

void switchOn(kj::StringPtr path) { switchTo(path, '1'); }

void switchTo(kj::StringPtr path, char position) {
  if (isAt(path, position)) return;
  int fd = open(path.cStr(), O_WRONLY | O_CLOEXEC);
  kj::AutoCloseFd writer(fd);
  if (fd < 0 || write(fd, &position, 1) != 1) {
    fail(kj::str("cannot write ", position, " to ", path, ": ", strerror(errno),
                 "; set it before orchd starts"));
  }
}

}  // namespace orch::network
