// Where other hosts reach a host: an address of IPv4, or of IPv6 as in a tunnel between them.
#pragma once

#include <kj/string.h>

#include <array>
#include <cstdint>

#include "lib/ipv4.h"

namespace orch::network {

class HostAddress final {
 public:
  using Bytes = std::array<uint8_t, 16>;

  HostAddress() = default;    // none, or not known
  HostAddress(Ipv4 address);  // 0: the same
  explicit HostAddress(const Bytes& ipv6) : bytes(ipv6) {}

  bool isKnown() const { return bytes != Bytes{}; }
  bool isIpv4() const;
  // Of one that is.
  Ipv4 ipv4() const;
  // An IPv4 one is mapped: ::ffff:192.0.2.1.
  const Bytes& ipv6() const { return bytes; }
  bool operator==(const HostAddress&) const = default;
  auto operator<=>(const HostAddress&) const = default;

 private:
  Bytes bytes = {};
};

kj::String hostText(const HostAddress& address);

}  // namespace orch::network
