#include "port-sockets.h"

#include <errno.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

namespace orch::network::ingress {

namespace {

// Empty if the port is taken. Port 0: any.
kj::Maybe<kj::AutoCloseFd> bound(PortKey key) {
  bool tcp = key.protocol == IPPROTO_TCP;
  int fd;
  KJ_SYSCALL(fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
  kj::AutoCloseFd owned(fd);
  if (tcp && key.port != 0) {
    // Connections that are just ending (TIME_WAIT) must not count as a program that listens.
    int on = 1;
    KJ_SYSCALL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(key.port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    return kj::mv(owned);
  }
  int error = errno;
  KJ_ASSERT(error == EADDRINUSE, "cannot bind a port", key.port, strerror(error));
  return nullptr;
}

}  // namespace

bool PortSockets::hold(PortKey key) {
  if (holds(key)) return true;
  KJ_IF_MAYBE (fd, bound(key)) {
    sockets.emplace(key, kj::mv(*fd));
    return true;
  }
  return false;
}

bool PortSockets::secure(PortKey key) {
  auto found = sockets.find(key);
  KJ_REQUIRE(found != sockets.end(), "a port is secured that is not held");
  // A bound socket with SO_REUSEADDR keeps nobody from listening; one that listens does.
  if (key.protocol != IPPROTO_TCP || listen(found->second, 1) == 0) return true;
  int error = errno;
  KJ_ASSERT(error == EADDRINUSE, "cannot listen on a port", key.port, strerror(error));
  sockets.erase(found);
  return false;
}

uint16_t PortSockets::holdAny(uint8_t protocol) {
  auto fd = KJ_ASSERT_NONNULL(bound({protocol, 0}), "the node has no free port");
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  KJ_SYSCALL(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size));
  uint16_t port = ntohs(address.sin_port);
  sockets.emplace(PortKey{protocol, port}, kj::mv(fd));
  return port;
}

}  // namespace orch::network::ingress
