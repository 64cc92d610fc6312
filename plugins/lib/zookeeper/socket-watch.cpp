#include "zookeeper/socket-watch.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <sys/stat.h>

namespace orch::zookeeper {

namespace {
constexpr uint EDGES =
    kj::UnixEventPort::FdObserver::OBSERVE_READ | kj::UnixEventPort::FdObserver::OBSERVE_WRITE;
}  // namespace

SocketWatch::Copy::Copy(kj::UnixEventPort& port, kj::AutoCloseFd copied, ino_t of)
    : fd(kj::mv(copied)), inode(of), observer(port, fd, EDGES) {}

short SocketWatch::ready(int fd, short events) {
  if (fd < 0) return 0;
  pollfd one{fd, events, 0};
  int count;
  KJ_SYSCALL(count = ::poll(&one, 1, 0));
  if (count == 0) return 0;
  // An error is found out by reading.
  bool broken = (one.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
  return static_cast<short>((one.revents & events) | (broken ? POLLIN : 0));
}

void SocketWatch::observe(int fd) {
  if (fd < 0) {
    copy = nullptr;
    return;
  }
  struct stat now {};
  KJ_SYSCALL(fstat(fd, &now));
  if (copy.get() != nullptr && copy->inode == now.st_ino) return;
  copy = nullptr;
  int copied;
  KJ_SYSCALL(copied = fcntl(fd, F_DUPFD_CLOEXEC, 0));
  copy = kj::heap<Copy>(port, kj::AutoCloseFd(copied), now.st_ino);
}

kj::Promise<void> SocketWatch::wait(short events) {
  if (copy.get() == nullptr) return kj::NEVER_DONE;
  auto readable = copy->observer.whenBecomesReadable();
  if ((events & POLLOUT) == 0) return readable;
  return readable.exclusiveJoin(copy->observer.whenBecomesWritable());
}

}  // namespace orch::zookeeper
