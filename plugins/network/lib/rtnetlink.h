// Links, addresses, routes and forwarding entries by rtnetlink. The functions that return a message
// only build it; Rtnetlink sends them, many in one system call.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/host-address.h"
#include "lib/ipv4.h"
#include "lib/ipv6.h"
#include "lib/netlink.h"

namespace orch::network {

// The kernel's limit (IFNAMSIZ) without the closing zero.
constexpr size_t MAX_LINK_NAME = 15;
// Of lo, in every namespace.
constexpr uint32_t LOOPBACK_INDEX = 1;
// Of a link that belongs to none.
constexpr uint32_t NO_MASTER = 0;

// What tells one VXLAN device from another.
struct Vxlan {
  uint32_t vni = 0;
  HostAddress local;  // of this host, that it sends from: its packets are of the same family
  uint16_t port = 0;  // of UDP, here and there
  bool operator==(const Vxlan&) const = default;
};

struct Link {
  uint32_t index = 0;
  uint32_t master = NO_MASTER;
  uint32_t peer = 0;         // the other end of a veth, by its number in its own namespace
  bool up = false;           // wanted
  bool operational = false;  // frames can be sent, which the kernel arranges soon after
  bool forwarding = false;   // as a port of a bridge
  bool hairpin = false;      // the same: setHairpin
  uint32_t mtu = 0;
  Mac mac = {};  // all zero if it has none of 6 bytes
  std::string name;
  std::string kind;   // `bridge`, `veth`, `vxlan`; empty for hardware
  Vxlan vxlan;        // of kind `vxlan`
  std::string alias;  // free text, for people and for us to know our own
};

struct Address {
  uint32_t link = 0;
  Ipv4 address = 0;
  uint8_t prefix = 0;
};

struct Address6 {
  uint32_t link = 0;
  Ipv6 address = {};
  uint8_t prefix = 0;
};

struct Route {
  Ipv4Subnet to;
  uint32_t link = 0;   // 0: by several
  bool leads = false;  // to somewhere: it is no blackhole, and the like
};

struct Route6 {
  Ipv6Subnet to;
  uint32_t link = 0;
  bool leads = false;
};

// Who has an address on a link.
struct Neighbour {
  uint32_t link = 0;
  Ipv4 address = 0;
  Mac mac = {};
};

struct Neighbour6 {
  uint32_t link = 0;
  Ipv6 address = {};
  Mac mac = {};
};

// A MAC that is tied to a port of a bridge for good.
struct Forwarding {
  uint32_t port = 0;
  Mac mac = {};
};

// Which host has a MAC that is reached by a VXLAN device.
struct RemoteMac {
  uint32_t link = 0;
  Mac mac = {};
  HostAddress host;
};

struct VethSpec {
  std::string hostName;
  std::string peerName;
  Mac peerMac = {};
  uint32_t mtu = 1500;
  uint32_t master = NO_MASTER;
  int peerNamespace = -1;  // a descriptor of the namespace in which the peer is made
};

struct VxlanSpec {
  std::string name;
  Vxlan facts;
  uint32_t mtu = 1450;
  int targetNamespace = -1;  // a descriptor of the namespace in which it is made
  Mac mac = {};              // all zero: the kernel chooses one
  bool learning = false;     // from which host a MAC's frames come, for good
  bool arp = true;           // asks who has an address; if not, all frames go to its own MAC
};

// A bridge without spanning tree and multicast snooping, whose address does not change with its
// ports. Fails with EEXIST if the name is taken.
NetlinkMessage newBridge(kj::StringPtr name, Mac mac, uint32_t mtu);
// The host's end is up when it answers; the peer cannot be, it comes first into being.
NetlinkMessage newVeth(const VethSpec& spec);
// A VXLAN device that floods nothing. What it sends goes through the namespace
// of the socket, wherever it is itself. Fails with EEXIST if another one has the VNI and port
// there.
NetlinkMessage newVxlan(const VxlanSpec& spec);
// One without keys and peers, which is down. Fails with EOPNOTSUPP if the kernel has no WireGuard.
NetlinkMessage newWireguardLink(kj::StringPtr name);
NetlinkMessage linkUp(uint32_t link);
// Its routes go with it.
NetlinkMessage linkDown(uint32_t link);
NetlinkMessage setMaster(uint32_t link, uint32_t master);
NetlinkMessage setAlias(uint32_t link, kj::StringPtr alias);
NetlinkMessage setMtu(uint32_t link, uint32_t mtu);
NetlinkMessage deleteLink(uint32_t link);
// For deleting many in one go, which costs as much as one: each RTM_DELLINK waits for all CPUs.
NetlinkMessage setGroup(uint32_t link, uint32_t group);
NetlinkMessage deleteGroup(uint32_t group);
// Replaces an equal one.
NetlinkMessage newAddress(uint32_t link, Ipv4 address, uint8_t prefix);
// The same of IPv6, usable at once, for a device without neighbours.
NetlinkMessage newAddressInTunnel(uint32_t link, const HostAddress& address, uint8_t prefix);
NetlinkMessage deleteAddress(const Address& address);
// Good at once: nobody is asked whether he has it already.
NetlinkMessage newAddress(uint32_t link, const Ipv6& address, uint8_t prefix);
NetlinkMessage deleteAddress(const Address6& address);
NetlinkMessage newDefaultRoute(uint32_t link, Ipv4 gateway);
NetlinkMessage newDefaultRoute(uint32_t link, const Ipv6& gateway);
// In a table of its own, by a gateway that need not be on the link's subnet. Replaces an equal one.
NetlinkMessage newDefaultRouteIn(uint32_t table, uint32_t link, Ipv4 gateway);
// The same of IPv6, by a device that asks nobody for neighbours.
NetlinkMessage newDefaultRoute6In(uint32_t table, uint32_t link);
// In that table there is no way to the subnet: the next table is asked. Deleting what is not there
// fails with ESRCH.
NetlinkMessage newThrowRoute(uint32_t table, const Ipv4Subnet& subnet);
NetlinkMessage deleteThrowRoute(uint32_t table, const Ipv4Subnet& subnet);
// Packets with the mark are routed by the table, whose number is the rule's priority too: of rules
// that differ in it the kernel would take any number. Fails with EEXIST if that is so already;
// deleting what is not there with ENOENT.
NetlinkMessage newMarkRule(uint32_t mark, uint32_t table, bool ipv6 = false);
NetlinkMessage deleteMarkRule(uint32_t mark, uint32_t table, bool ipv6 = false);
// Ties a MAC to a port of a bridge for good, wherever frames with it come from; moves it here if
// it was tied to another port.
NetlinkMessage newForwarding(uint32_t port, Mac mac);
// Who has an address on a link, for good and without asking. Deleting what is not there fails with
// ENOENT.
NetlinkMessage newNeighbour(uint32_t link, Ipv4 address, Mac mac);
NetlinkMessage deleteNeighbour(uint32_t link, Ipv4 address);
NetlinkMessage newNeighbour(uint32_t link, const Ipv6& address, Mac mac);
NetlinkMessage deleteNeighbour(uint32_t link, const Ipv6& address);
// A MAC is on another host, for the VXLAN device and for the bridge that it is a port of. Deleting
// what is not there fails with ENOENT.
NetlinkMessage newRemoteMac(const RemoteMac& remote);
NetlinkMessage deleteRemoteMac(uint32_t link, Mac mac);
// Lets the bridge send a frame back by the port that it came from.
NetlinkMessage setHairpin(uint32_t port);
// Has the bridge answer, by its own neighbours, who asks for an address behind the port, and learn
// nothing from what comes by it.
NetlinkMessage setSuppression(uint32_t port);

// A NETLINK_ROUTE socket. Blocking, for worker threads.
class Rtnetlink final {
 public:
  // Of the calling thread's network namespace.
  Rtnetlink() : socket(NETLINK_ROUTE) {}
  explicit Rtnetlink(NetlinkSocket socket) : socket(kj::mv(socket)) {}

  template <typename... Messages>
  void run(Messages&&... messages) {
    NetlinkMessage list[] = {kj::mv(messages)...};
    socket.run(kj::arrayPtr(list, sizeof...(Messages)));
  }
  // `tolerated`: an errno that is success as well.
  void runAll(std::vector<NetlinkMessage>& messages, int tolerated = 0) {
    socket.run(kj::arrayPtr(messages.data(), messages.size()), tolerated);
  }
  // 0, or the errno.
  int attempt(NetlinkMessage message) { return socket.attempt(message); }

  // Lists are asked for again, a few times, if something changes while they are read; on a node
  // where it never stops a row may be missing or there twice. What one name stands for is always
  // exact.
  std::optional<Link> link(kj::StringPtr name);
  std::optional<Link> link(uint32_t index);
  std::vector<Link> links();
  std::vector<Address> addresses();
  bool hasAddressInTunnel(uint32_t link, const HostAddress& address, uint8_t prefix);
  std::vector<Address6> addresses6();
  // Of the main table, without the default route.
  std::vector<Route> routes();
  std::vector<Route6> routes6();
  // Whether that is so: newDefaultRouteIn, newMarkRule.
  bool hasDefaultRouteIn(uint32_t table, uint32_t link, bool ipv6 = false);
  bool hasMarkRule(uint32_t mark, uint32_t table, bool ipv6 = false);
  // Those that are for good, of IPv4.
  std::vector<Neighbour> permanentNeighbours();
  std::vector<Neighbour6> permanentNeighbours6();
  // Of all VXLAN devices.
  std::vector<RemoteMac> remoteMacs();
  // Of all bridges, those that newForwarding and newRemoteMac made.
  std::vector<Forwarding> forwardings();
  // Changes that were asked for so far.
  uint64_t changes() const { return socket.changes(); }

 private:
  template <typename Row, typename Read>
  std::vector<Row> list(NetlinkMessage message, Read&& read);
  NetlinkSocket socket;
};

// Returns when the device in the calling thread's namespace is operational, and if it is a port of
// a bridge, forwards frames. Before that the kernel drops them, and who sent them tries again a
// second later. Fails after five seconds.
void waitForLink(kj::StringPtr name);

}  // namespace orch::network
