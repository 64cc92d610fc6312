// IPv6 addresses and subnets, and which ones a network of both kinds has.
#pragma once

#include <kj/string.h>

#include <array>
#include <cstdint>
#include <optional>

#include "lib/ipv4.h"
#include "orch/schema/objects.capnp.h"

namespace orch::network {

using Ipv6 = std::array<uint8_t, 16>;

// `fd00:1::2`, as short as can be.
kj::String ipv6Text(const Ipv6& address);
std::optional<Ipv6> parseIpv6(kj::StringPtr text);
// The address of `[fd90::3]:7946`, with or without brackets and port. Empty if it is of another
// kind.
std::optional<Ipv6> parseIpv6Host(kj::StringPtr text);

struct Ipv6Subnet {
  Ipv6 network = {};  // the bits of the host are zero
  uint8_t prefix = 0;

  // That the address is in.
  static Ipv6Subnet around(const Ipv6& address, uint8_t prefix);
  Ipv6 mask() const;
  bool operator==(const Ipv6Subnet&) const = default;
  bool contains(const Ipv6& address) const;
};

// `fd00:1::/64`.
kj::String subnetText(const Ipv6Subnet& subnet);
// Empty unless it is an address, `/` and a prefix of 1 to 128, with no bit of the host set.
std::optional<Ipv6Subnet> parseSubnet6(kj::StringPtr text);

// The rule of `Network.subnet6`: each IPv4 address of a network has a twin of IPv6, at the same
// place in the other subnet. So whoever has the one has the other, and nobody keeps books of both.
struct Ipv6Twins {
  Ipv4Subnet subnet;
  Ipv6Subnet range;

  bool operator==(const Ipv6Twins&) const = default;
  // Of an address in the subnet.
  Ipv6 of(Ipv4 address) const;
  // Empty: it is nobody's twin.
  std::optional<Ipv4> ownerOf(const Ipv6& address) const;
};
// The longest prefix of a range with a twin for each address of the subnet.
constexpr uint8_t mostPrefixFor(const Ipv4Subnet& subnet) { return 96 + subnet.prefix; }
// Empty: the network has no IPv6, or no range that is large enough.
std::optional<Ipv6Twins> twinsOf(schema::Network::Reader network);

}  // namespace orch::network
