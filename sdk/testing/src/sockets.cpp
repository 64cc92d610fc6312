#include "orch/testing/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <random>
#include <thread>

#include "orch/attempt.h"

namespace orch::testing {

namespace {
// Of either kind.
struct Place {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  std::string text() {
    char text[INET6_ADDRSTRLEN];
    const void* address = &reinterpret_cast<sockaddr_in&>(storage).sin_addr;
    if (storage.ss_family == AF_INET6) {
      address = &reinterpret_cast<sockaddr_in6&>(storage).sin6_addr;
    }
    KJ_ASSERT(inet_ntop(storage.ss_family, address, text, sizeof(text)) != nullptr);
    return text;
  }
};

bool isIpv6(const std::string& address) { return address.find(':') != std::string::npos; }

Place placeOf(const std::string& address, uint16_t port) {
  Place place;
  if (isIpv6(address)) {
    auto& six = reinterpret_cast<sockaddr_in6&>(place.storage);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    KJ_REQUIRE(inet_pton(AF_INET6, address.c_str(), &six.sin6_addr) == 1, address.c_str());
    place.size = sizeof(six);
  } else {
    reinterpret_cast<sockaddr_in&>(place.storage) = socketAddressOf(address, port);
    place.size = sizeof(sockaddr_in);
  }
  return place;
}
}  // namespace

sockaddr_in socketAddressOf(const std::string& address, uint16_t port) {
  sockaddr_in result = {};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  KJ_REQUIRE(inet_pton(AF_INET, address.c_str(), &result.sin_addr) == 1, address.c_str());
  return result;
}

// An error comes over as a value: KJ ends the process when what one thread threw is freed by
// another.
void insideOf(const std::string& path, kj::FunctionParam<void()> work) {
  int fd;
  KJ_SYSCALL(fd = open(path.c_str(), O_RDONLY | O_CLOEXEC), path.c_str());
  kj::AutoCloseFd handle(fd);
  kj::Maybe<kj::Exception> failure;
  std::thread([&] {
    auto done = attemptNow([&] {
      KJ_SYSCALL(setns(handle, CLONE_NEWNET), path.c_str());
      work();
    });
    if (!done.ok()) failure = kj::mv(done.error());
  }).join();
  KJ_IF_MAYBE (exception, failure) kj::throwFatalException(kj::mv(*exception));
}

kj::AutoCloseFd socketIn(const std::string& path, bool udp, bool ipv6) {
  kj::AutoCloseFd made;
  auto make = [&] {
    int fd;
    KJ_SYSCALL(
        fd = socket(ipv6 ? AF_INET6 : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
    made = kj::AutoCloseFd(fd);
  };
  if (path.empty()) {
    make();
  } else {
    insideOf(path, make);
  }
  timeval patience = {PATIENCE_MS / 1000, 0};
  KJ_SYSCALL(setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)));
  KJ_SYSCALL(setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
  return made;
}

namespace {
// Below the ports that the system gives to those who name none: of other tests' many connections
// none must take a port before its server does, or while that is started anew.
constexpr uint16_t FIRST_PORT = 10'000;
constexpr uint16_t PORTS = 22'000;

bool isFreePort(int type, uint16_t port) {
  kj::AutoCloseFd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  KJ_REQUIRE(fd.get() >= 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// Among tests a port belongs to whose process has bound this name first, until it ends: there is
// nobody at the port before its server has started, and while that is started anew. Names without a
// file belong to a network namespace, as ports do.
bool isOursNow(uint16_t port) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  auto name = "orch-test-port-" + std::to_string(port);
  memcpy(address.sun_path + 1, name.data(), name.size());
  kj::AutoCloseFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  KJ_REQUIRE(fd.get() >= 0);
  auto size = offsetof(sockaddr_un, sun_path) + 1 + name.size();
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) return false;
  static_cast<void>(fd.release());  // the system closes it
  return true;
}
}  // namespace

uint16_t freePort() {
  static std::atomic<uint32_t> next{std::random_device()()};
  for (;;) {
    auto port = static_cast<uint16_t>(FIRST_PORT + next++ % PORTS);
    bool free = isOursNow(port) && isFreePort(SOCK_STREAM, port) && isFreePort(SOCK_DGRAM, port);
    if (free) return port;
  }
}

void bindTo(int fd, uint16_t port) {
  int family = 0;
  socklen_t size = sizeof(family);
  KJ_SYSCALL(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size));
  auto place = placeOf(family == AF_INET6 ? "::" : "0.0.0.0", port);
  KJ_SYSCALL(bind(fd, place.get(), place.size), port);
}

kj::AutoCloseFd serverIn(const std::string& path, uint16_t port, bool udp, bool ipv6) {
  auto server = socketIn(path, udp, ipv6);
  int on = 1;
  KJ_SYSCALL(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
  bindTo(server, port);
  if (udp) return server;
  KJ_SYSCALL(listen(server, 100));
  return server;
}

int connectTo(int fd, const std::string& address, uint16_t port) {
  auto target = placeOf(address, port);
  return connect(fd, target.get(), target.size) == 0 ? 0 : errno;
}

int readyOf(const std::vector<int>& sockets) {
  std::vector<pollfd> list;
  for (int fd : sockets) list.push_back({fd, POLLIN, 0});
  int ready;
  KJ_SYSCALL(ready = poll(list.data(), list.size(), PATIENCE_MS));
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].revents != 0) return i;
  }
  return -1;
}

Accepted acceptFrom(int server) {
  Place peer;
  int fd;
  KJ_SYSCALL(fd = accept4(server, peer.get(), &peer.size, SOCK_CLOEXEC));
  return {kj::AutoCloseFd(fd), peer.text()};
}

bool talk(int one, int other) {
  char text[6] = {};
  if (send(one, "hello", 5, MSG_NOSIGNAL) != 5 || readyOf({other}) < 0) return false;
  if (recv(other, text, 5, 0) != 5 || std::string(text) != "hello") return false;
  if (send(other, "there", 5, MSG_NOSIGNAL) != 5 || readyOf({one}) < 0) return false;
  return recv(one, text, 5, 0) == 5 && std::string(text) == "there";
}

int readErrorOf(int fd) {
  char text[6];
  return recv(fd, text, 5, 0) < 0 ? errno : 0;
}

bool reaches(const std::string& from, const std::string& to, const std::string& address) {
  constexpr uint16_t PORT = 80;
  auto server = serverIn(to, PORT, false, isIpv6(address));
  auto client = socketIn(from, false, isIpv6(address));
  if (connectTo(client, address, PORT) != 0 || readyOf({server}) != 0) return false;
  auto peer = acceptFrom(server);
  return talk(client, peer.fd);
}

Asked askUdp(int client, const std::vector<int>& servers) {
  char text[6] = {};
  if (send(client, "hello", 5, 0) != 5) return {};
  int turn = readyOf(servers);
  if (turn < 0) return {};
  Place from;
  if (recvfrom(servers[turn], text, 5, 0, from.get(), &from.size) != 5) return {};
  bool sent = sendto(servers[turn], "there", 5, 0, from.get(), from.size) == 5;
  if (!sent || readyOf({client}) < 0) return {};
  if (recv(client, text, 5, 0) != 5 || std::string(text) != "there") return {};
  return {turn, from.text()};
}

}  // namespace orch::testing
