#include "lib/ipv4.h"

#include <arpa/inet.h>

#include <charconv>

namespace orch::network {

kj::String ipv4Text(Ipv4 address) {
  return kj::str(address >> 24, ".", (address >> 16) & 255, ".", (address >> 8) & 255, ".",
                 address & 255);
}

std::optional<Ipv4> parseIpv4(kj::StringPtr text) {
  in_addr address;
  if (inet_pton(AF_INET, text.cStr(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::optional<Ipv4> parseIpv4Host(kj::StringPtr text) {
  KJ_IF_MAYBE (colon, text.findLast(':')) return parseIpv4(kj::str(text.slice(0, *colon)));
  return parseIpv4(text);
}

Mac macOf(Ipv4 address) {
  return {0x02,
          0x42,
          uint8_t(address >> 24),
          uint8_t(address >> 16),
          uint8_t(address >> 8),
          uint8_t(address)};
}
Ipv4 addressOf(const Mac& mac) {
  return uint32_t(mac[2]) << 24 | uint32_t(mac[3]) << 16 | uint32_t(mac[4]) << 8 | mac[5];
}

kj::String subnetText(const Ipv4Subnet& subnet) {
  return kj::str(ipv4Text(subnet.network), "/", subnet.prefix);
}

std::optional<Ipv4Subnet> parseSubnet(kj::StringPtr text) {
  KJ_IF_MAYBE (slash, text.findFirst('/')) {
    auto address = parseIpv4(kj::str(text.slice(0, *slash)));
    auto rest = text.slice(*slash + 1);
    Ipv4Subnet subnet;
    auto [end, error] = std::from_chars(rest.begin(), rest.end(), subnet.prefix);
    if (!address || error != std::errc() || end != rest.end()) return std::nullopt;
    if (subnet.prefix < 1 || subnet.prefix > 32) return std::nullopt;
    subnet.network = *address;
    if ((subnet.network & ~subnet.mask()) != 0) return std::nullopt;
    return subnet;
  }
  return std::nullopt;
}

}  // namespace orch::network
