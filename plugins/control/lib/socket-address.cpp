#include "lib/socket-address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace orch::control {

namespace {
template <typename T>
void store(sockaddr_storage& to, socklen_t& length, const T& address) {
  memcpy(&to, &address, sizeof(address));
  length = sizeof(address);
}
}  // namespace

std::optional<SocketAddress> SocketAddress::parse(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  uint16_t port = 0;
  auto end = text.data() + text.size();
  auto read = std::from_chars(text.data() + colon + 1, end, port);
  if (read.ec != std::errc() || read.ptr != end || port == 0) return std::nullopt;
  auto host = text.substr(0, colon);
  SocketAddress result;
  if (host.front() == '[' && host.back() == ']') {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &six.sin6_addr) != 1) {
      return std::nullopt;
    }
    store(result.storage, result.length, six);
    return result;
  }
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &four.sin_addr) != 1) return std::nullopt;
  store(result.storage, result.length, four);
  return result;
}

}  // namespace orch::control
