#include "orch/file-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include "orch/durable-file.h"
#include "orch/fail.h"

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

kj::AutoCloseFd lockOwned(const std::string& path,
                          kj::FunctionParam<kj::String(kj::StringPtr pid)> inUse) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) failFile("open", path, errno);
  kj::AutoCloseFd lock(fd);
  if (!lockFile(lock)) {
    char holder[16] = {};
    ssize_t n = pread(lock, holder, sizeof(holder) - 1, 0);
    fail(inUse(n > 0 ? kj::StringPtr(holder) : "unknown"_kj));
  }
  auto pid = kj::str(getpid());
  // For that text only: a disk without space must not keep the owner from starting.
  if (ftruncate(lock, 0) != 0 || pwrite(lock, pid.begin(), pid.size(), 0) < 0) return lock;
  return lock;
}

}  // namespace orch
