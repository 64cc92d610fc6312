#include "lib/testing/test-sockets.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sched.h>

#include "lib/rtnetlink.h"

namespace orch::network {

OwnNetwork::OwnNetwork() {
  int fd;
  KJ_SYSCALL(fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  before = kj::AutoCloseFd(fd);
  KJ_SYSCALL(unshare(CLONE_NEWNET));
  Rtnetlink().run(linkUp(1));
}

OwnNetwork::~OwnNetwork() noexcept(false) { KJ_SYSCALL(setns(before, CLONE_NEWNET)); }

}  // namespace orch::network
