// `ip:port` and `[ip6]:port` as the system calls take them, for threads that have no KJ.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

namespace orch::control {

class SocketAddress final {
 public:
  // Nothing unless it is an address with a port, in digits.
  static std::optional<SocketAddress> parse(const std::string& text);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  socklen_t size() const { return length; }
  int family() const { return storage.ss_family; }

 private:
  sockaddr_storage storage{};
  socklen_t length = 0;
};

}  // namespace orch::control
