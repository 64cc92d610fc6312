// How the addresses of a network are written in packets, rules and lists of the kernel: as they
// are, or as their twins of IPv6 (lib/ipv6.h). The books have those of IPv4 alone.
#pragma once

#include <optional>

#include "lib/conntrack.h"
#include "lib/ipv6.h"
#include "lib/nft-batch.h"

namespace orch::network::overlay {

struct Ipv6Facts {
  Ipv6Twins twins;
  Ipv6 gateway = {};
  uint8_t prefix = 0;  // of the subnet
  bool operator==(const Ipv6Facts&) const = default;
};

class AddressKind final {
 public:
  AddressKind() = default;  // as they are
  explicit AddressKind(const Ipv6Facts& facts) : facts(facts) {}
  bool operator==(const AddressKind&) const = default;

  bool isIpv6() const { return facts.has_value(); }
  std::optional<Ipv6Twins> twins() const {
    return facts ? std::optional(facts->twins) : std::nullopt;
  }
  // Of connections (lib/conntrack.h).
  FlowNames flowNames() const {
    if (!facts) return {};
    return [twins = facts->twins](const Ipv6& twin) { return twins.ownerOf(twin).value_or(0); };
  }
  Ipv6 twinOf(Ipv4 address) const { return facts->twins.of(address); }
  Ipv6 gateway() const { return facts->gateway; }
  uint8_t prefix() const { return facts->prefix; }
  kj::String text(Ipv4 address) const {
    return isIpv6() ? ipv6Text(twinOf(address)) : ipv4Text(address);
  }

  // Of nftables.
  NftFamily family() const { return isIpv6() ? NftFamily::IP6 : NftFamily::IP; }
  NftType type() const { return isIpv6() ? NftType::ADDRESS6 : NftType::ADDRESS; }
  void put(NftBytes& bytes, Ipv4 address) const {
    if (isIpv6()) {
      bytes.address(twinOf(address));
    } else {
      bytes.address(address);
    }
  }
  NftBytes key(Ipv4 address) const {
    NftBytes bytes;
    put(bytes, address);
    return bytes;
  }
  // Addresses follow each other in a rule's registers: where that number begins.
  Register slot(uint32_t number) const { return R0 + number * (isIpv6() ? 4 : 1); }

 private:
  std::optional<Ipv6Facts> facts;
};

}  // namespace orch::network::overlay
