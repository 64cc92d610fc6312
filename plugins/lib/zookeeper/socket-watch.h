// Waits for the socket of a library that opens and closes it by itself.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>
#include <sys/types.h>

namespace orch::zookeeper {

// KJ's observer has to go before its descriptor is closed, and whoever closes it here does not ask:
// so it observes a copy. On the loop.
class SocketWatch final {
 public:
  explicit SocketWatch(kj::UnixEventPort& port) : port(port) {}

  // Whether `fd` is ready for any of `events` (POLLIN, POLLOUT): those that it is ready for.
  static short ready(int fd, short events);
  // `fd` is what is waited for from now on; -1: nothing. A number that is used again for another
  // socket is told from the old one.
  void observe(int fd);
  // Until one of `events` comes; after `ready` has said that none is there.
  kj::Promise<void> wait(short events);

 private:
  struct Copy {
    Copy(kj::UnixEventPort& port, kj::AutoCloseFd copied, ino_t of);
    kj::AutoCloseFd fd;  // before the observer: that must die first
    ino_t inode;
    kj::UnixEventPort::FdObserver observer;
  };
  kj::UnixEventPort& port;
  kj::Own<Copy> copy;
};

}  // namespace orch::zookeeper
