#include "port-sockets.h"

#include <errno.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

namespace orch::network::ingress {

namespace {
constexpr int MOST_TRIES = 100;

struct Bound {
  bool taken = false;
  kj::AutoCloseFd fd;  // empty: it is taken, or there is no such kind
};
// Port 0: any.
Bound bound(PortKey key, int family) {
  bool tcp = key.protocol == IPPROTO_TCP;
  int made = socket(family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  if (made < 0 && errno == EAFNOSUPPORT) return {};
  KJ_SYSCALL(made);
  kj::AutoCloseFd fd(made);
  int on = 1;
  // Connections that are just ending (TIME_WAIT) must not count as a program that listens.
  if (tcp && key.port != 0) {
    KJ_SYSCALL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
  }
  sockaddr_in6 address = {};
  socklen_t size = sizeof(address);
  if (family == AF_INET6) {
    KJ_SYSCALL(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(key.port);
  } else {
    auto& four = reinterpret_cast<sockaddr_in&>(address);
    four.sin_family = AF_INET;
    four.sin_port = htons(key.port);
    size = sizeof(four);
  }
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0) return {false, kj::mv(fd)};
  int error = errno;
  KJ_ASSERT(error == EADDRINUSE, "cannot bind a port", key.port, strerror(error));
  return {true, nullptr};
}

// A bound socket with SO_REUSEADDR keeps nobody from listening; one that listens does.
bool listens(PortKey key, int fd) {
  if (fd < 0 || key.protocol != IPPROTO_TCP || listen(fd, 1) == 0) return true;
  int error = errno;
  KJ_ASSERT(error == EADDRINUSE, "cannot listen on a port", key.port, strerror(error));
  return false;
}

}  // namespace

bool PortSockets::hold(PortKey key) {
  if (holds(key)) return true;
  auto four = bound(key, AF_INET);
  if (four.taken) return false;
  auto six = bound(key, AF_INET6);
  if (six.taken) return false;
  sockets.emplace(key, Pair{kj::mv(four.fd), kj::mv(six.fd)});
  return true;
}

bool PortSockets::secure(PortKey key) {
  auto found = sockets.find(key);
  KJ_REQUIRE(found != sockets.end(), "a port is secured that is not held");
  auto& [ipv4, ipv6] = found->second;
  if (listens(key, ipv4.get()) && listens(key, ipv6.get())) return true;
  sockets.erase(found);
  return false;
}

uint16_t PortSockets::holdAny(uint8_t protocol) {
  for (int tries = 0; tries < MOST_TRIES; ++tries) {
    auto four = bound({protocol, 0}, AF_INET);
    KJ_REQUIRE(!four.taken, "the node has no free port");
    sockaddr_in address = {};
    socklen_t size = sizeof(address);
    KJ_SYSCALL(getsockname(four.fd, reinterpret_cast<sockaddr*>(&address), &size));
    PortKey key{protocol, ntohs(address.sin_port)};
    auto six = bound(key, AF_INET6);
    if (six.taken) continue;  // it is free of the one kind only
    sockets.emplace(key, Pair{kj::mv(four.fd), kj::mv(six.fd)});
    return key.port;
  }
  KJ_FAIL_REQUIRE("the node has no port that is free by IPv4 and by IPv6");
}

}  // namespace orch::network::ingress
