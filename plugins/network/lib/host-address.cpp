#include "lib/host-address.h"

#include <arpa/inet.h>

#include <algorithm>

namespace orch::network {

namespace {
// RFC 4291, 2.5.5.2.
constexpr std::array<uint8_t, 12> MAPPED = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
}  // namespace

HostAddress::HostAddress(Ipv4 address) {
  if (address == 0) return;
  std::copy(MAPPED.begin(), MAPPED.end(), bytes.begin());
  for (size_t i = 0; i < sizeof(address); ++i) {
    bytes[MAPPED.size() + i] = uint8_t(address >> (24 - 8 * i));
  }
}

bool HostAddress::isIpv4() const { return std::equal(MAPPED.begin(), MAPPED.end(), bytes.begin()); }

Ipv4 HostAddress::ipv4() const {
  Ipv4 address = 0;
  for (size_t i = MAPPED.size(); i < bytes.size(); ++i) address = address << 8 | bytes[i];
  return address;
}

kj::String hostText(const HostAddress& address) {
  if (address.isIpv4()) return ipv4Text(address.ipv4());
  char text[INET6_ADDRSTRLEN];
  return kj::str(inet_ntop(AF_INET6, address.ipv6().data(), text, sizeof(text)));
}

}  // namespace orch::network
