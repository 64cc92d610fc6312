// Holds the published ports of the node with sockets of its own, so that no other program takes
// them and finds itself without traffic. nftables catches packets before they reach the sockets. On
// the loop's thread; nothing here blocks.
#pragma once

#include <kj/io.h>

#include <map>

#include "port-table.h"

namespace orch::network::ingress {

// Dropping it lets all ports go. At most 2 x 65,535 sockets, by the number of ports.
class PortSockets final {
 public:
  // False if a program outside holds the port. Held already is success. A TCP port is bound, but
  // does not listen yet: until the rules are in place a client must be refused, not left hanging.
  bool hold(PortKey key);
  // Once the rules are in place. False if another program was faster; the port is let go then.
  bool secure(PortKey key);
  // Any free port of the node's range for such (net.ipv4.ip_local_port_range), held.
  uint16_t holdAny(uint8_t protocol);
  void release(PortKey key) { sockets.erase(key); }
  bool holds(PortKey key) const { return sockets.count(key) > 0; }

 private:
  // Of one kind of addresses each; the second is empty on a host without IPv6.
  struct Pair {
    kj::AutoCloseFd ipv4, ipv6;
  };
  std::map<PortKey, Pair> sockets;
};

}  // namespace orch::network::ingress
