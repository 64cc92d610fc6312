// Forgetting connections that the kernel tracks, by ctnetlink. Blocking, for worker threads.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/ipv4.h"
#include "lib/netlink.h"

namespace orch::network {

// Connections that are answered by `server`: those to it, by whatever address the client used.
struct FlowsTo {
  Ipv4 server = 0;
  // IPPROTO_UDP, IPPROTO_TCP; 0: all.
  uint8_t protocol = 0;
};

// In the namespace of the socket, which is one of NETLINK_NETFILTER. Their next packet is treated
// as the first of a new connection. The number that was there.
size_t forgetFlows(NetlinkSocket& socket, const std::vector<FlowsTo>& flows);

}  // namespace orch::network
