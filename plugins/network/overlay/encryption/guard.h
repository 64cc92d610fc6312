// What keeps an encrypted network's packets from passing beside the tunnel, in the host's
// namespace: none leaves by another device, as one would by the default route when the tunnel's is
// gone; none that comes by another device gets in. Blocking.
//
//   table ip6 DEVICE {
//     chain output { filter: daddr TUNNEL_RANGE oifname != DEVICE drop }
//     chain input  { filter: udp dport dataPort iifname != DEVICE drop }
//   }
//
// The other networks' packets are of IPv4: all of IPv6 that is for the port is an encrypted one's.
#pragma once

#include <string>

#include "lib/findings.h"

namespace orch::network::overlay {

void putUpGuard(const std::string& device, uint16_t dataPort);
void takeDownGuard(const std::string& device);
void checkGuard(const std::string& device, uint16_t dataPort, Findings& findings);

}  // namespace orch::network::overlay
