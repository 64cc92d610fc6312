// Forgetting connections that the kernel tracks, by ctnetlink. Blocking, for worker threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "lib/ipv6.h"
#include "lib/netlink.h"

namespace orch::network {

// Connections of IPv4; or, if it is given, of IPv6, with addresses of IPv4 for those that it knows,
// and 0 for all others.
using FlowNames = std::function<Ipv4(const Ipv6&)>;

// Connections that are answered by `server`: those to it, by whatever address the client used.
struct FlowsTo {
  Ipv4 server = 0;
  // IPPROTO_UDP, IPPROTO_TCP; 0: all.
  uint8_t protocol = 0;
  bool led = false;  // only those that a rule has led there
};

// In the namespace of the socket, which is one of NETLINK_NETFILTER. Their next packet is treated
// as the first of a new connection. The number that was there.
size_t forgetFlows(NetlinkSocket& socket, const std::vector<FlowsTo>& flows,
                   const FlowNames& names = {});

// A connection that a rule has led on.
struct LedFlow {
  uint8_t protocol = 0;
  Ipv4 asked = 0;  // by the client
  uint16_t port = 0;
  Ipv4 server = 0;  // who answers
};
// Those that `stray` picks are forgotten, as by `forgetFlows`: whoever led them may have ended
// before he could.
size_t forgetStrays(NetlinkSocket& socket, const std::function<bool(const LedFlow&)>& stray,
                    const FlowNames& names = {});

// Whether a TCP connection that a rule has led to one of these is not over.
bool anyOpen(NetlinkSocket& socket, const std::vector<Ipv4>& servers, const FlowNames& names = {});

// What clients sent to a port of this node before anything led it on.
struct Unled {
  uint8_t protocol = 0;
  uint16_t port = 0;
};
// Connections to one of the node's own addresses, which are `local` and 127/8, by such a port that
// no rule rewrote: the kernel asks the rules once per connection, and a client that goes on sending
// keeps it.
size_t forgetUnled(NetlinkSocket& socket, const std::vector<Unled>& ports,
                   const std::vector<Ipv4>& local, const FlowNames& names = {});
// The same for connections to `addresses`, by whatever port.
size_t forgetUnled(NetlinkSocket& socket, const std::vector<Ipv4>& addresses,
                   const FlowNames& names = {});

}  // namespace orch::network
