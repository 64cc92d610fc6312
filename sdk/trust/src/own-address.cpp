#include "orch/trust/own-address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "orch/host-addresses.h"

namespace orch::trust {

namespace {

struct Place {
  std::string ip;
  std::string port;
};
Place placeOf(const std::string& address) {
  auto colon = address.rfind(':');
  if (colon == std::string::npos) return {address, ""};
  auto ip = address.substr(0, colon);
  if (ip.size() > 2 && ip.front() == '[' && ip.back() == ']') ip = ip.substr(1, ip.size() - 2);
  return {ip, address.substr(colon + 1)};
}

struct Socketable {
  struct sockaddr_storage bytes = {};
  socklen_t length = 0;  // 0: it is no number
};
constexpr uint16_t DISCARD_PORT = 9;
Socketable numberOf(const std::string& ip, uint16_t port) {
  Socketable made;
  auto& v4 = reinterpret_cast<struct sockaddr_in&>(made.bytes);
  auto& v6 = reinterpret_cast<struct sockaddr_in6&>(made.bytes);
  if (inet_pton(AF_INET, ip.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    made.length = sizeof(v4);
  } else if (inet_pton(AF_INET6, ip.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    made.length = sizeof(v6);
  }
  return made;
}

std::string textOf(const struct sockaddr_storage& from) {
  char text[INET6_ADDRSTRLEN] = {};
  const void* ip = &reinterpret_cast<const struct sockaddr_in6&>(from).sin6_addr;
  if (from.ss_family == AF_INET) ip = &reinterpret_cast<const struct sockaddr_in&>(from).sin_addr;
  inet_ntop(from.ss_family, ip, text, sizeof(text));
  return text;
}

std::string withPort(const std::string& ip, const std::string& port) {
  return (ip.find(':') == std::string::npos ? ip : "[" + ip + "]") + ":" + port;
}

}  // namespace

std::optional<std::string> sourceTowards(const std::string& address) {
  auto to = numberOf(placeOf(address).ip, DISCARD_PORT);
  if (to.length == 0) return std::nullopt;
  int fd = ::socket(to.bytes.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;  // a host without IPv6
  kj::AutoCloseFd socket(fd);
  auto* place = reinterpret_cast<struct sockaddr*>(&to.bytes);
  if (::connect(fd, place, to.length) != 0) return std::nullopt;
  struct sockaddr_storage from = {};
  socklen_t length = sizeof(from);
  KJ_SYSCALL(getsockname(fd, reinterpret_cast<struct sockaddr*>(&from), &length));
  return textOf(from);
}

// The source of what a host sends to a second address of its own may be its first one: that says
// nothing.
bool isOfThisHost(const std::string& address) {
  auto number = numberOf(placeOf(address).ip, 0);
  if (number.length == 0) return true;
  int fd = ::socket(number.bytes.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  kj::AutoCloseFd socket(fd);
  auto* place = reinterpret_cast<struct sockaddr*>(&number.bytes);
  return ::bind(fd, place, number.length) == 0 || errno != EADDRNOTAVAIL;
}

std::optional<std::string> addressInstead(const std::string& gone,
                                          const std::vector<std::string>& others) {
  auto port = placeOf(gone).port;
  for (auto& other : others) {
    if (other == gone || isOfThisHost(other)) continue;
    auto source = sourceTowards(other);
    if (source) return withPort(*source, port);
  }
  auto all = hostAddresses();
  if (all.size() != 1) return std::nullopt;
  return withPort(all[0], port);
}

}  // namespace orch::trust
