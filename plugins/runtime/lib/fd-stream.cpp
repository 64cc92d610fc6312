#include "fd-stream.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include <cerrno>

namespace orch::runtime {

namespace {

unsigned observed(FdStream::Way way) {
  using Observer = kj::UnixEventPort::FdObserver;
  if (way == FdStream::Way::READ) return Observer::OBSERVE_READ;
  return way == FdStream::Way::WRITE ? Observer::OBSERVE_WRITE : Observer::OBSERVE_READ_WRITE;
}

kj::AutoCloseFd withoutWaiting(kj::AutoCloseFd fd) {
  int flags;
  KJ_SYSCALL(flags = fcntl(fd, F_GETFL));
  KJ_SYSCALL(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
  return fd;
}

}  // namespace

FdStream::FdStream(Env& env, kj::AutoCloseFd fd, Way way)
    : descriptor(withoutWaiting(kj::mv(fd))),
      observer(env.eventPort(), descriptor, observed(way)) {}

kj::Maybe<size_t> FdStream::read(kj::ArrayPtr<kj::byte> buffer) {
  for (;;) {
    ssize_t n = ::read(descriptor, buffer.begin(), buffer.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EAGAIN) return nullptr;
    // A terminal whose last user has gone, and a socket whose other end was killed.
    if (errno == EIO || errno == ECONNRESET) return size_t(0);
    if (errno != EINTR) KJ_FAIL_SYSCALL("read(descriptor)", errno);
  }
}

Task<bool> FdStream::write(kj::ArrayPtr<const kj::byte> bytes) {
  while (bytes.size() > 0) {
    ssize_t n = ::write(descriptor, bytes.begin(), bytes.size());
    if (n >= 0) {
      bytes = bytes.slice(n, bytes.size());
    } else if (errno == EAGAIN) {
      co_await observer.whenBecomesWritable();
    } else if (errno == EPIPE || errno == EIO || errno == ECONNRESET) {
      co_return false;
    } else if (errno != EINTR) {
      KJ_FAIL_SYSCALL("write(descriptor)", errno);
    }
  }
  co_return true;
}

}  // namespace orch::runtime
