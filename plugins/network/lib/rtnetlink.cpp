#include "lib/rtnetlink.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <string.h>

#include "orch/fail.h"

namespace orch::network {

namespace {

// As the kernel has it: 4 bytes or 16.
void putHost(NetlinkMessage& message, uint16_t type, const HostAddress& address) {
  if (address.isIpv4()) {
    message.putU32(type, htonl(address.ipv4()));
  } else {
    message.put(type, address.ipv6().data(), address.ipv6().size());
  }
}

// A change of a link that exists.
NetlinkMessage changeLink(uint32_t link, kj::StringPtr what) {
  NetlinkMessage message(RTM_NEWLINK, 0, kj::str("cannot ", what, " network device ", link));
  auto& head = message.header<ifinfomsg>();
  head.ifi_family = AF_UNSPEC;
  head.ifi_index = link;
  return message;
}

}  // namespace

NetlinkMessage newBridge(kj::StringPtr name, Mac mac, uint32_t mtu) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
                         kj::str("cannot make the bridge '", name, "'"));
  auto& head = message.header<ifinfomsg>();
  head.ifi_flags = head.ifi_change = IFF_UP;
  message.putText(IFLA_IFNAME, name).put(IFLA_ADDRESS, mac.data(), mac.size());
  message.putU32(IFLA_MTU, mtu);
  size_t info = message.nest(IFLA_LINKINFO);
  message.putText(IFLA_INFO_KIND, "bridge");
  size_t data = message.nest(IFLA_INFO_DATA);
  message.putU32(IFLA_BR_FORWARD_DELAY, 0).putU32(IFLA_BR_STP_STATE, 0);
  message.putU8(IFLA_BR_MCAST_SNOOPING, 0);
  message.endNest(data);
  message.endNest(info);
  return message;
}

NetlinkMessage newVeth(const VethSpec& spec) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
                         kj::str("cannot make the network device '", spec.hostName.c_str(), "'"));
  auto& head = message.header<ifinfomsg>();
  head.ifi_flags = head.ifi_change = IFF_UP;
  message.putText(IFLA_IFNAME, spec.hostName.c_str()).putU32(IFLA_MTU, spec.mtu);
  if (spec.master != NO_MASTER) message.putU32(IFLA_MASTER, spec.master);
  size_t info = message.nest(IFLA_LINKINFO);
  message.putText(IFLA_INFO_KIND, "veth");
  size_t data = message.nest(IFLA_INFO_DATA);
  size_t peer = message.nest(VETH_INFO_PEER);
  message.header<ifinfomsg>();
  message.putText(IFLA_IFNAME, spec.peerName.c_str()).putU32(IFLA_MTU, spec.mtu);
  message.put(IFLA_ADDRESS, spec.peerMac.data(), spec.peerMac.size());
  if (spec.peerNamespace >= 0) message.putU32(IFLA_NET_NS_FD, spec.peerNamespace);
  message.endNest(peer);
  message.endNest(data);
  message.endNest(info);
  return message;
}

NetlinkMessage newVxlan(const VxlanSpec& spec) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
                         kj::str("cannot make the VXLAN device ", spec.facts.vni));
  auto& head = message.header<ifinfomsg>();
  if (!spec.arp) head.ifi_flags = head.ifi_change = IFF_NOARP;
  message.putText(IFLA_IFNAME, spec.name.c_str()).putU32(IFLA_MTU, spec.mtu);
  if (spec.mac != Mac{}) message.put(IFLA_ADDRESS, spec.mac.data(), spec.mac.size());
  if (spec.targetNamespace >= 0) message.putU32(IFLA_NET_NS_FD, spec.targetNamespace);
  size_t info = message.nest(IFLA_LINKINFO);
  message.putText(IFLA_INFO_KIND, "vxlan");
  size_t data = message.nest(IFLA_INFO_DATA);
  uint16_t port = htons(spec.facts.port);
  auto& local = spec.facts.local;
  message.putU32(IFLA_VXLAN_ID, spec.facts.vni);
  putHost(message, local.isIpv4() ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, local);
  message.put(IFLA_VXLAN_PORT, &port, sizeof(port)).putU8(IFLA_VXLAN_TTL, IPDEFTTL);
  message.putU8(IFLA_VXLAN_LEARNING, spec.learning ? 1 : 0).putU32(IFLA_VXLAN_AGEING, 0);
  message.endNest(data);
  message.endNest(info);
  return message;
}

NetlinkMessage newWireguardLink(kj::StringPtr name) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
                         kj::str("cannot make the WireGuard device '", name, "'"));
  message.header<ifinfomsg>();
  message.putText(IFLA_IFNAME, name);
  size_t info = message.nest(IFLA_LINKINFO);
  message.putText(IFLA_INFO_KIND, "wireguard");
  message.endNest(info);
  return message;
}

NetlinkMessage linkUp(uint32_t link) {
  NetlinkMessage message(RTM_NEWLINK, 0, kj::str("cannot bring up network device ", link));
  auto& head = message.header<ifinfomsg>();
  head.ifi_index = link;
  head.ifi_flags = head.ifi_change = IFF_UP;
  return message;
}

NetlinkMessage linkDown(uint32_t link) {
  NetlinkMessage message(RTM_NEWLINK, 0, kj::str("cannot take down network device ", link));
  auto& head = message.header<ifinfomsg>();
  head.ifi_index = link;
  head.ifi_change = IFF_UP;
  return message;
}

NetlinkMessage setMaster(uint32_t link, uint32_t master) {
  auto message = changeLink(link, "make a port of the bridge of");
  message.putU32(IFLA_MASTER, master);
  return message;
}

NetlinkMessage setAlias(uint32_t link, kj::StringPtr alias) {
  auto message = changeLink(link, "name");
  message.putText(IFLA_IFALIAS, alias);
  return message;
}

NetlinkMessage setMtu(uint32_t link, uint32_t mtu) {
  auto message = changeLink(link, "set the MTU of");
  message.putU32(IFLA_MTU, mtu);
  return message;
}

NetlinkMessage setGroup(uint32_t link, uint32_t group) {
  auto message = changeLink(link, "set the group of");
  message.putU32(IFLA_GROUP, group);
  return message;
}

NetlinkMessage deleteLink(uint32_t link) {
  NetlinkMessage message(RTM_DELLINK, 0, kj::str("cannot delete network device ", link));
  message.header<ifinfomsg>().ifi_index = link;
  return message;
}

NetlinkMessage deleteGroup(uint32_t group) {
  NetlinkMessage message(RTM_DELLINK, 0, kj::str("cannot delete the network devices of a group"));
  message.header<ifinfomsg>();
  message.putU32(IFLA_GROUP, group);
  return message;
}

NetlinkMessage newAddress(uint32_t link, Ipv4 address, uint8_t prefix) {
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
                         kj::str("cannot set the address ", ipv4Text(address)));
  auto& head = message.header<ifaddrmsg>();
  head.ifa_family = AF_INET;
  head.ifa_prefixlen = prefix;
  head.ifa_scope = RT_SCOPE_UNIVERSE;
  head.ifa_index = link;
  Ipv4 broadcast = address | (prefix == 32 ? 0 : ~Ipv4(0) >> prefix);
  message.putU32(IFA_LOCAL, htonl(address)).putU32(IFA_ADDRESS, htonl(address));
  message.putU32(IFA_BROADCAST, htonl(broadcast));
  return message;
}

NetlinkMessage newAddressInTunnel(uint32_t link, const HostAddress& address, uint8_t prefix) {
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
                         kj::str("cannot set the address ", hostText(address)));
  auto& head = message.header<ifaddrmsg>();
  head.ifa_family = AF_INET6;
  head.ifa_prefixlen = prefix;
  head.ifa_flags = IFA_F_NODAD;
  head.ifa_scope = RT_SCOPE_UNIVERSE;
  head.ifa_index = link;
  putHost(message, IFA_LOCAL, address);
  putHost(message, IFA_ADDRESS, address);
  return message;
}

NetlinkMessage deleteAddress(const Address& address) {
  NetlinkMessage message(RTM_DELADDR, 0,
                         kj::str("cannot take the address ", ipv4Text(address.address), " away"));
  auto& head = message.header<ifaddrmsg>();
  head.ifa_family = AF_INET;
  head.ifa_prefixlen = address.prefix;
  head.ifa_index = address.link;
  message.putU32(IFA_LOCAL, htonl(address.address));
  return message;
}

namespace {
NetlinkMessage newAddressChange(uint16_t type, uint16_t flags, kj::StringPtr verb,
                                const Address6& address) {
  NetlinkMessage message(type, flags,
                         kj::str("cannot ", verb, " the address ", ipv6Text(address.address)));
  auto& head = message.header<ifaddrmsg>();
  head.ifa_family = AF_INET6;
  head.ifa_prefixlen = address.prefix;
  head.ifa_scope = RT_SCOPE_UNIVERSE;
  head.ifa_flags = IFA_F_NODAD;
  head.ifa_index = address.link;
  message.put(IFA_LOCAL, address.address.data(), address.address.size());
  return message;
}
}  // namespace

NetlinkMessage newAddress(uint32_t link, const Ipv6& address, uint8_t prefix) {
  return newAddressChange(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, "set",
                          {link, address, prefix});
}
NetlinkMessage deleteAddress(const Address6& address) {
  return newAddressChange(RTM_DELADDR, 0, "take away", address);
}

NetlinkMessage newDefaultRoute(uint32_t link, Ipv4 gateway) {
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
                         kj::str("cannot set the default route to ", ipv4Text(gateway)));
  auto& head = message.header<rtmsg>();
  head.rtm_family = AF_INET;
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = RT_SCOPE_UNIVERSE;
  head.rtm_type = RTN_UNICAST;
  message.putU32(RTA_GATEWAY, htonl(gateway)).putU32(RTA_OIF, link);
  return message;
}

namespace {
NetlinkMessage newRoute6(kj::String what, uint32_t table, uint32_t link) {
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, kj::mv(what));
  auto& head = message.header<rtmsg>();
  head.rtm_family = AF_INET6;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = RT_SCOPE_UNIVERSE;
  head.rtm_type = RTN_UNICAST;
  message.putU32(RTA_TABLE, table).putU32(RTA_OIF, link);
  return message;
}
}  // namespace

NetlinkMessage newDefaultRoute(uint32_t link, const Ipv6& gateway) {
  auto what = kj::str("cannot set the default route to ", ipv6Text(gateway));
  auto message = newRoute6(kj::mv(what), RT_TABLE_MAIN, link);
  message.put(RTA_GATEWAY, gateway.data(), gateway.size());
  return message;
}

NetlinkMessage newDefaultRoute6In(uint32_t table, uint32_t link) {
  return newRoute6(kj::str("cannot set the IPv6 route of table ", table), table, link);
}

namespace {
// Table numbers above 255 go into an attribute.
NetlinkMessage newRouteChange(uint16_t type, uint16_t flags, uint32_t table, uint8_t kind,
                              const Ipv4Subnet& to, unsigned routeFlags = 0) {
  NetlinkMessage message(type, flags,
                         kj::str("cannot set the route to ", subnetText(to), " of table ", table));
  auto& head = message.header<rtmsg>();
  head.rtm_family = AF_INET;
  head.rtm_dst_len = to.prefix;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = RT_SCOPE_UNIVERSE;
  head.rtm_type = kind;
  head.rtm_flags = routeFlags;
  message.putU32(RTA_TABLE, table);
  if (to.prefix > 0) message.putU32(RTA_DST, htonl(to.network));
  return message;
}

NetlinkMessage newRuleChange(uint16_t type, uint16_t flags, uint32_t mark, uint32_t table,
                             bool ipv6) {
  NetlinkMessage message(type, flags, kj::str("cannot set the rule for table ", table));
  auto& head = message.header<fib_rule_hdr>();
  head.family = ipv6 ? AF_INET6 : AF_INET;
  head.action = FR_ACT_TO_TBL;
  message.putU32(FRA_FWMARK, mark).putU32(FRA_TABLE, table).putU32(FRA_PRIORITY, table);
  return message;
}
}  // namespace

NetlinkMessage newDefaultRouteIn(uint32_t table, uint32_t link, Ipv4 gateway) {
  auto message = newRouteChange(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, table, RTN_UNICAST,
                                Ipv4Subnet{}, RTNH_F_ONLINK);
  message.putU32(RTA_GATEWAY, htonl(gateway)).putU32(RTA_OIF, link);
  return message;
}

NetlinkMessage newThrowRoute(uint32_t table, const Ipv4Subnet& subnet) {
  return newRouteChange(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, table, RTN_THROW, subnet);
}
NetlinkMessage deleteThrowRoute(uint32_t table, const Ipv4Subnet& subnet) {
  return newRouteChange(RTM_DELROUTE, 0, table, RTN_THROW, subnet);
}
NetlinkMessage newMarkRule(uint32_t mark, uint32_t table, bool ipv6) {
  return newRuleChange(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, mark, table, ipv6);
}
NetlinkMessage deleteMarkRule(uint32_t mark, uint32_t table, bool ipv6) {
  return newRuleChange(RTM_DELRULE, 0, mark, table, ipv6);
}

NetlinkMessage newForwarding(uint32_t port, Mac mac) {
  NetlinkMessage message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                         kj::str("cannot tie an address to bridge port ", port));
  auto& head = message.header<ndmsg>();
  head.ndm_family = AF_BRIDGE;
  head.ndm_ifindex = port;
  head.ndm_state = NUD_NOARP;
  head.ndm_flags = NTF_MASTER | NTF_STICKY;
  message.put(NDA_LLADDR, mac.data(), mac.size());
  return message;
}

namespace {
NetlinkMessage newNeighbourChange(uint16_t type, uint16_t flags, kj::String what, uint8_t family,
                                  uint32_t link) {
  NetlinkMessage message(type, flags, kj::mv(what));
  auto& head = message.header<ndmsg>();
  head.ndm_family = family;
  head.ndm_ifindex = link;
  if (type == RTM_NEWNEIGH) head.ndm_state = NUD_PERMANENT;
  return message;
}
}  // namespace

NetlinkMessage newNeighbour(uint32_t link, Ipv4 address, Mac mac) {
  auto message =
      newNeighbourChange(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                         kj::str("cannot tell who has ", ipv4Text(address)), AF_INET, link);
  message.putU32(NDA_DST, htonl(address)).put(NDA_LLADDR, mac.data(), mac.size());
  return message;
}

NetlinkMessage deleteNeighbour(uint32_t link, Ipv4 address) {
  auto message = newNeighbourChange(
      RTM_DELNEIGH, 0, kj::str("cannot forget who has ", ipv4Text(address)), AF_INET, link);
  message.putU32(NDA_DST, htonl(address));
  return message;
}

NetlinkMessage newNeighbour(uint32_t link, const Ipv6& address, Mac mac) {
  auto message =
      newNeighbourChange(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                         kj::str("cannot tell who has ", ipv6Text(address)), AF_INET6, link);
  message.put(NDA_DST, address.data(), address.size()).put(NDA_LLADDR, mac.data(), mac.size());
  return message;
}

NetlinkMessage deleteNeighbour(uint32_t link, const Ipv6& address) {
  auto message = newNeighbourChange(
      RTM_DELNEIGH, 0, kj::str("cannot forget who has ", ipv6Text(address)), AF_INET6, link);
  message.put(NDA_DST, address.data(), address.size());
  return message;
}

namespace {
NetlinkMessage newForwardingChange(uint16_t type, uint16_t flags, kj::String what, uint32_t link,
                                   Mac mac) {
  NetlinkMessage message(type, flags, kj::mv(what));
  auto& head = message.header<ndmsg>();
  head.ndm_family = AF_BRIDGE;
  head.ndm_ifindex = link;
  // For the bridge static, for the VXLAN device something that does not age.
  head.ndm_state = NUD_NOARP | NUD_REACHABLE;
  head.ndm_flags = NTF_SELF | NTF_MASTER;
  message.put(NDA_LLADDR, mac.data(), mac.size());
  return message;
}

NetlinkMessage newPortChange(uint32_t port, kj::StringPtr what) {
  NetlinkMessage message(RTM_SETLINK, 0, kj::str("cannot set ", what, " of bridge port ", port));
  auto& head = message.header<ifinfomsg>();
  head.ifi_family = AF_BRIDGE;
  head.ifi_index = port;
  return message;
}
}  // namespace

NetlinkMessage newRemoteMac(const RemoteMac& remote) {
  auto message =
      newForwardingChange(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                          kj::str("cannot lead an address to the host ", hostText(remote.host)),
                          remote.link, remote.mac);
  putHost(message, NDA_DST, remote.host);
  return message;
}

NetlinkMessage deleteRemoteMac(uint32_t link, Mac mac) {
  return newForwardingChange(RTM_DELNEIGH, 0, kj::str("cannot forget an address of another host"),
                             link, mac);
}

NetlinkMessage setHairpin(uint32_t port) {
  auto message = newPortChange(port, "hairpin mode");
  size_t options = message.nest(IFLA_PROTINFO | NLA_F_NESTED);
  message.putU8(IFLA_BRPORT_MODE, 1);
  message.endNest(options);
  return message;
}

NetlinkMessage setSuppression(uint32_t port) {
  auto message = newPortChange(port, "neighbour suppression");
  size_t options = message.nest(IFLA_PROTINFO | NLA_F_NESTED);
  message.putU8(IFLA_BRPORT_NEIGH_SUPPRESS, 1).putU8(IFLA_BRPORT_LEARNING, 0);
  message.endNest(options);
  return message;
}

}  // namespace orch::network
