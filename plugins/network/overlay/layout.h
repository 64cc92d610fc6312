// What the settings come to: names that every other part works with. Plain values, copied to worker
// threads.
#pragma once

#include <optional>
#include <string>

#include "balancer.h"
#include "config.capnp.h"
#include "lib/ipv4.h"
#include "lib/names.h"
#include "orch/host.h"

namespace orch::network::overlay {

// In every network's namespace.
constexpr const char* BRIDGE = "br0";
constexpr const char* VXLAN = "vxlan0";
constexpr const char* PORT_PREFIX = "ov";
// Of the tunnel of encrypted networks, in the host's own.
constexpr const char* TUNNEL_NAME = "wg";
// Without it frames that the bridge forwards do not pass nftables' IP hooks.
constexpr kj::StringPtr BRIDGE_FILTERS = "/proc/sys/net/bridge/bridge-nf-call-iptables"_kj;
// Nothing is routed, but a bridged frame that gets another destination is looked up as if it were:
// Linux 6.18 drops it where forwarding is off.
constexpr kj::StringPtr BRIDGE_FORWARDS = "/proc/sys/net/ipv4/conf/br0/forwarding"_kj;
// The same for IPv6. What is told by a router counts for nothing in there: a task could be one.
constexpr kj::StringPtr BRIDGE_FILTERS6 = "/proc/sys/net/bridge/bridge-nf-call-ip6tables"_kj;
// Only so who has the address of a service that is gone is told that there is nobody, and IPVS gets
// the answers of tasks that reached themselves. The kernel has no such switch for one device.
constexpr kj::StringPtr FORWARDS6 = "/proc/sys/net/ipv6/conf/all/forwarding"_kj;
inline kj::String withoutIpv6(kj::StringPtr device) {
  return kj::str("/proc/sys/net/ipv6/conf/", device, "/disable_ipv6");
}
inline kj::String hearsRouters(kj::StringPtr device) {
  return kj::str("/proc/sys/net/ipv6/conf/", device, "/accept_ra");
}
// In a task's namespace: what it has of its node's own network, and the table that closes that.
constexpr const char* WAY_OUT_DEVICE = "eth0";
constexpr const char* CLOSED_TABLE = "orch_closed";

struct Layout {
  std::string folder;  // records() and pins() are in it
  std::string nodeId;
  std::optional<Ipv4> address;  // as set; else it is learnt
  uint16_t dataPort = 0;
  std::optional<BalancerKind> wantedBalancer;  // as set; else the best
  BalancerKind balancer = BalancerKind::NFT;   // what it comes to; known from `start` on
  uint16_t encryptionPort = 0;                 // of UDP, as WireGuard's
  std::string wireguardGo;                     // the program
  std::string tunnel;  // the WireGuard device, whose name no other orchd's has
  std::string data;    // a folder that outlives a reboot

  // One file per leg, written before anything else of it exists and removed last.
  std::string records() const { return folder + "/legs"; }
  // One file per network, on which its namespace is mounted.
  std::string pins() const { return folder + "/netns"; }
  std::string keyFile() const { return data + "/wireguard.key"; }
  std::string pinOf(const std::string& network) const { return pins() + "/" + network; }
  // The end of a task's leg that is a port of the network's bridge.
  static std::string portOf(const std::string& taskId) { return linkNameOf(PORT_PREFIX, taskId); }
};

// Fails with a text that names the setting if one cannot be used.
Layout layoutOf(Config::Reader settings, const NodeFacts& node);

}  // namespace orch::network::overlay
