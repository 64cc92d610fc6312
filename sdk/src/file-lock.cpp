#include "orch/file-lock.h"

#include <errno.h>
#include <kj/debug.h>
#include <poll.h>
#include <sys/file.h>

namespace orch {

namespace {
constexpr int PAUSE_MS = 10;
constexpr int TRIES = 300;
}  // namespace

bool lockFile(int fd) {
  for (int i = 0; i < TRIES; ++i) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    int error = errno;
    if (error != EWOULDBLOCK && error != EINTR) KJ_FAIL_SYSCALL("flock", error);
    poll(nullptr, 0, PAUSE_MS);
  }
  return false;
}

}  // namespace orch
