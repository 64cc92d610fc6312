#include "lib/ipv6.h"

#include <arpa/inet.h>

#include <charconv>

namespace orch::network {

namespace {
constexpr unsigned BITS = 128;

// What of the byte at `index` belongs to the network.
uint8_t maskAt(uint8_t prefix, size_t index) {
  int bits = int(prefix) - 8 * int(index);
  if (bits >= 8) return 0xff;
  return bits <= 0 ? 0 : uint8_t(0xff << (8 - bits));
}

// The last 32 bits: within them is all in which the twins of a network differ.
Ipv4 lowOf(const Ipv6& address) {
  return Ipv4(address[12]) << 24 | Ipv4(address[13]) << 16 | Ipv4(address[14]) << 8 | address[15];
}
}  // namespace

kj::String ipv6Text(const Ipv6& address) {
  char text[INET6_ADDRSTRLEN];
  return kj::str(inet_ntop(AF_INET6, address.data(), text, sizeof(text)));
}

std::optional<Ipv6> parseIpv6(kj::StringPtr text) {
  Ipv6 address;
  if (inet_pton(AF_INET6, text.cStr(), address.data()) != 1) return std::nullopt;
  return address;
}

std::optional<Ipv6> parseIpv6Host(kj::StringPtr text) {
  if (!text.startsWith("[")) return parseIpv6(text);
  KJ_IF_MAYBE (end, text.findFirst(']')) return parseIpv6(kj::str(text.slice(1, *end)));
  return std::nullopt;
}

Ipv6 Ipv6Subnet::mask() const {
  Ipv6 bits;
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = maskAt(prefix, i);
  return bits;
}

Ipv6Subnet Ipv6Subnet::around(const Ipv6& address, uint8_t prefix) {
  Ipv6Subnet subnet{address, prefix};
  for (size_t i = 0; i < address.size(); ++i) subnet.network[i] &= maskAt(prefix, i);
  return subnet;
}

bool Ipv6Subnet::contains(const Ipv6& address) const {
  for (size_t i = 0; i < address.size(); ++i) {
    if (((address[i] ^ network[i]) & maskAt(prefix, i)) != 0) return false;
  }
  return true;
}

kj::String subnetText(const Ipv6Subnet& subnet) {
  return kj::str(ipv6Text(subnet.network), "/", subnet.prefix);
}

std::optional<Ipv6Subnet> parseSubnet6(kj::StringPtr text) {
  KJ_IF_MAYBE (slash, text.findFirst('/')) {
    auto address = parseIpv6(kj::str(text.slice(0, *slash)));
    auto rest = text.slice(*slash + 1);
    Ipv6Subnet subnet;
    auto [end, error] = std::from_chars(rest.begin(), rest.end(), subnet.prefix);
    if (!address || error != std::errc() || end != rest.end()) return std::nullopt;
    if (subnet.prefix < 1 || subnet.prefix > BITS) return std::nullopt;
    subnet.network = *address;
    if (Ipv6Subnet::around(*address, subnet.prefix) != subnet) return std::nullopt;
    return subnet;
  }
  return std::nullopt;
}

Ipv6 Ipv6Twins::of(Ipv4 address) const {
  auto twin = range.network;
  auto low = lowOf(twin) | (address & ~subnet.mask());
  for (size_t i = 0; i < sizeof(low); ++i) twin[12 + i] = uint8_t(low >> (24 - 8 * i));
  return twin;
}

std::optional<Ipv4> Ipv6Twins::ownerOf(const Ipv6& address) const {
  Ipv4 owner = subnet.network | (lowOf(address) & ~subnet.mask());
  if (of(owner) != address) return std::nullopt;
  return owner;
}

std::optional<Ipv6Twins> twinsOf(schema::Network::Reader network) {
  auto range = network.getIpRange6().size() > 0 ? network.getIpRange6() : network.getSubnet6();
  auto subnet = parseSubnet(network.getSubnet());
  auto range6 = parseSubnet6(range);
  if (!subnet || !range6 || range6->prefix > mostPrefixFor(*subnet)) return std::nullopt;
  return Ipv6Twins{*subnet, *range6};
}

}  // namespace orch::network
