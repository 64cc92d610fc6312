// IPv4 addresses and subnets as plain numbers, in the host's byte order.
#pragma once

#include <kj/string.h>

#include <array>
#include <cstdint>
#include <optional>

namespace orch::network {

using Ipv4 = uint32_t;
using Mac = std::array<uint8_t, 6>;

// `172.30.0.2`.
kj::String ipv4Text(Ipv4 address);
// Empty unless it is exactly four decimal numbers.
std::optional<Ipv4> parseIpv4(kj::StringPtr text);
// The address of `192.168.0.10:7946`, with or without the port. Empty if it is of another kind.
std::optional<Ipv4> parseIpv4Host(kj::StringPtr text);
// 02:42 and the address, as docker does it: locally administered, and as unique as the address.
Mac macOf(Ipv4 address);
// What it was made of.
Ipv4 addressOf(const Mac& mac);

struct Ipv4Subnet {
  Ipv4 network = 0;  // the bits of the host are zero
  uint8_t prefix = 0;

  // That the address is in. For a prefix of at least 1, as the others.
  static Ipv4Subnet around(Ipv4 address, uint8_t prefix) {
    return {address & (~Ipv4(0) << (32 - prefix)), prefix};
  }
  Ipv4 mask() const { return ~Ipv4(0) << (32 - prefix); }
  uint64_t size() const { return uint64_t(1) << (32 - prefix); }
  bool operator==(const Ipv4Subnet&) const = default;
  bool contains(Ipv4 address) const { return (address & mask()) == network; }
};

// `172.30.0.0/16`.
kj::String subnetText(const Ipv4Subnet& subnet);
// Empty unless it is an address, `/` and a prefix of 1 to 32, with no bit of the host set.
std::optional<Ipv4Subnet> parseSubnet(kj::StringPtr text);

}  // namespace orch::network
