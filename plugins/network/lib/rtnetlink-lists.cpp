// What the kernel has, as the messages of rtnetlink say it.
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "lib/rtnetlink.h"
#include "orch/fail.h"

namespace orch::network {

namespace {

// More than a machine under any load needs to get round to it.
constexpr int LINK_TIMEOUT_MS = 5000;
// IF_OPER_UP of linux/if.h, which does not go with net/if.h.
constexpr uint8_t OPERATIONAL = 6;
// A list of a few hundred rows takes less than a millisecond: seldom does anything come in between.
constexpr int DUMP_TRIES = 10;

// False if it is of another size.
bool readMac(const nlattr* attribute, Mac& mac) {
  if (mnl_attr_get_payload_len(attribute) != mac.size()) return false;
  memcpy(mac.data(), mnl_attr_get_payload(attribute), mac.size());
  return true;
}

// Of IPv4 or of IPv6, by its size.
HostAddress hostOf(const nlattr* attribute) {
  if (mnl_attr_get_payload_len(attribute) == sizeof(Ipv4)) {
    return ntohl(valueOf<uint32_t>(attribute));
  }
  return HostAddress(valueOf<HostAddress::Bytes>(attribute));
}

void readVxlan(const nlattr* data, Vxlan& vxlan) {
  for (auto* option : NetlinkAttributes(data)) {
    auto type = mnl_attr_get_type(option);
    if (type == IFLA_VXLAN_ID) vxlan.vni = valueOf<uint32_t>(option);
    if (type == IFLA_VXLAN_LOCAL || type == IFLA_VXLAN_LOCAL6) vxlan.local = hostOf(option);
    if (type == IFLA_VXLAN_PORT) vxlan.port = ntohs(valueOf<uint16_t>(option));
  }
}

void readKind(const nlattr* info, Link& link) {
  for (auto* inner : NetlinkAttributes(info)) {
    auto type = mnl_attr_get_type(inner);
    if (type == IFLA_INFO_KIND) link.kind = textOf(inner);
    if (type == IFLA_INFO_DATA && link.kind == "vxlan") readVxlan(inner, link.vxlan);
    if (type != IFLA_INFO_SLAVE_DATA) continue;
    for (auto* option : NetlinkAttributes(inner)) {
      auto which = mnl_attr_get_type(option);
      if (which == IFLA_BRPORT_MODE) link.hairpin = valueOf<uint8_t>(option) != 0;
      if (which != IFLA_BRPORT_STATE) continue;
      link.forwarding = valueOf<uint8_t>(option) == BR_STATE_FORWARDING;
    }
  }
}

Link linkOf(const nlmsghdr* answer) {
  Link link;
  auto head = headerOf<ifinfomsg>(answer);
  link.index = head.ifi_index;
  link.up = (head.ifi_flags & IFF_UP) != 0;
  for (auto* attribute : NetlinkAttributes(answer, sizeof(ifinfomsg))) {
    switch (mnl_attr_get_type(attribute)) {
      case IFLA_IFNAME:
        link.name = textOf(attribute);
        break;
      case IFLA_IFALIAS:
        link.alias = textOf(attribute);
        break;
      case IFLA_MASTER:
        link.master = valueOf<uint32_t>(attribute);
        break;
      case IFLA_LINK:
        link.peer = valueOf<uint32_t>(attribute);
        break;
      case IFLA_LINKINFO:
        readKind(attribute, link);
        break;
      case IFLA_MTU:
        link.mtu = valueOf<uint32_t>(attribute);
        break;
      case IFLA_ADDRESS:
        readMac(attribute, link.mac);
        break;
      case IFLA_OPERSTATE:
        link.operational = valueOf<uint8_t>(attribute) == OPERATIONAL;
        break;
      default:
        break;
    }
  }
  return link;
}

}  // namespace

std::optional<Link> Rtnetlink::link(kj::StringPtr name) {
  NetlinkMessage message(RTM_GETLINK, 0, kj::str("cannot look up network device '", name, "'"));
  message.header<ifinfomsg>();
  message.putText(IFLA_IFNAME, name);
  std::optional<Link> found;
  socket.find(message, [&](const nlmsghdr* answer) { found = linkOf(answer); });
  return found;
}

std::optional<Link> Rtnetlink::link(uint32_t index) {
  NetlinkMessage message(RTM_GETLINK, 0, kj::str("cannot look up network device ", index));
  message.header<ifinfomsg>().ifi_index = static_cast<int>(index);
  std::optional<Link> found;
  socket.find(message, [&](const nlmsghdr* answer) { found = linkOf(answer); });
  return found;
}

void waitForLink(kj::StringPtr name) {
  NetlinkSocket events(NETLINK_ROUTE, RTMGRP_LINK);  // first, so that nothing is missed
  Rtnetlink net;
  for (;;) {
    auto link = net.link(name);
    if (!link) fail(kj::str("network device '", name, "' went away"));
    if (link->operational && (link->master == NO_MASTER || link->forwarding)) return;
    if (!events.waitForEvent(LINK_TIMEOUT_MS)) {
      fail(kj::str("network device '", name, "' did not become operational in ",
                   LINK_TIMEOUT_MS / 1000, " seconds"));
    }
  }
}

template <typename Row, typename Read>
std::vector<Row> Rtnetlink::list(NetlinkMessage message, Read&& read) {
  std::vector<Row> found;
  for (int tries = 0; tries < DUMP_TRIES; ++tries) {
    found.clear();
    bool whole = socket.dump(message, [&](const nlmsghdr* answer) { read(answer, found); });
    if (whole) break;
  }
  return found;
}

std::vector<Link> Rtnetlink::links() {
  NetlinkMessage message(RTM_GETLINK, 0, kj::str("cannot list network devices"));
  message.header<ifinfomsg>();
  return list<Link>(kj::mv(message), [](const nlmsghdr* answer, std::vector<Link>& found) {
    found.push_back(linkOf(answer));
  });
}

std::vector<Address> Rtnetlink::addresses() {
  NetlinkMessage message(RTM_GETADDR, 0, kj::str("cannot list addresses"));
  message.header<ifaddrmsg>().ifa_family = AF_INET;
  return list<Address>(kj::mv(message), [](const nlmsghdr* answer, std::vector<Address>& found) {
    auto head = headerOf<ifaddrmsg>(answer);
    Address address{head.ifa_index, 0, head.ifa_prefixlen};
    for (auto* attribute : NetlinkAttributes(answer, sizeof(ifaddrmsg))) {
      if (mnl_attr_get_type(attribute) != IFA_LOCAL) continue;
      address.address = ntohl(valueOf<uint32_t>(attribute));
    }
    found.push_back(address);
  });
}

bool Rtnetlink::hasAddressInTunnel(uint32_t link, const HostAddress& wanted, uint8_t prefix) {
  NetlinkMessage message(RTM_GETADDR, 0, kj::str("cannot list addresses"));
  message.header<ifaddrmsg>().ifa_family = AF_INET6;
  auto read = [&](const nlmsghdr* answer, std::vector<bool>& found) {
    auto head = headerOf<ifaddrmsg>(answer);
    HostAddress address;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(ifaddrmsg))) {
      if (mnl_attr_get_type(attribute) == IFA_ADDRESS) address = hostOf(attribute);
    }
    bool same = head.ifa_index == link && head.ifa_prefixlen == prefix && address == wanted;
    if (same) found.push_back(true);
  };
  return !list<bool>(kj::mv(message), read).empty();
}

std::vector<Address6> Rtnetlink::addresses6() {
  NetlinkMessage message(RTM_GETADDR, 0, kj::str("cannot list addresses"));
  message.header<ifaddrmsg>().ifa_family = AF_INET6;
  auto read = [](const nlmsghdr* answer, std::vector<Address6>& found) {
    auto head = headerOf<ifaddrmsg>(answer);
    Address6 address{head.ifa_index, {}, head.ifa_prefixlen};
    for (auto* attribute : NetlinkAttributes(answer, sizeof(ifaddrmsg))) {
      if (mnl_attr_get_type(attribute) == IFA_ADDRESS) address.address = valueOf<Ipv6>(attribute);
    }
    found.push_back(address);
  };
  return list<Address6>(kj::mv(message), read);
}

std::vector<Route> Rtnetlink::routes() {
  NetlinkMessage message(RTM_GETROUTE, 0, kj::str("cannot list routes"));
  message.header<rtmsg>().rtm_family = AF_INET;
  return list<Route>(kj::mv(message), [](const nlmsghdr* answer, std::vector<Route>& found) {
    auto head = headerOf<rtmsg>(answer);
    if (head.rtm_table != RT_TABLE_MAIN || head.rtm_dst_len == 0) return;
    Route route;
    route.to.prefix = head.rtm_dst_len;
    route.leads = head.rtm_type == RTN_UNICAST;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(rtmsg))) {
      switch (mnl_attr_get_type(attribute)) {
        case RTA_DST:
          route.to.network = ntohl(valueOf<uint32_t>(attribute));
          break;
        case RTA_OIF:
          route.link = valueOf<uint32_t>(attribute);
          break;
        default:
          break;
      }
    }
    found.push_back(route);
  });
}

std::vector<Route6> Rtnetlink::routes6() {
  NetlinkMessage message(RTM_GETROUTE, 0, kj::str("cannot list routes"));
  message.header<rtmsg>().rtm_family = AF_INET6;
  auto read = [](const nlmsghdr* answer, std::vector<Route6>& found) {
    auto head = headerOf<rtmsg>(answer);
    if (head.rtm_table != RT_TABLE_MAIN || head.rtm_dst_len == 0) return;
    Route6 route;
    route.to.prefix = head.rtm_dst_len;
    route.leads = head.rtm_type == RTN_UNICAST;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(rtmsg))) {
      auto type = mnl_attr_get_type(attribute);
      if (type == RTA_DST) route.to.network = valueOf<Ipv6>(attribute);
      if (type == RTA_OIF) route.link = valueOf<uint32_t>(attribute);
    }
    found.push_back(route);
  };
  return list<Route6>(kj::mv(message), read);
}

bool Rtnetlink::hasDefaultRouteIn(uint32_t table, uint32_t link, bool ipv6) {
  NetlinkMessage message(RTM_GETROUTE, 0, kj::str("cannot list the routes of table ", table));
  message.header<rtmsg>().rtm_family = ipv6 ? AF_INET6 : AF_INET;
  auto read = [&](const nlmsghdr* answer, std::vector<bool>& found) {
    auto head = headerOf<rtmsg>(answer);
    uint32_t in = head.rtm_table, by = 0;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(rtmsg))) {
      if (mnl_attr_get_type(attribute) == RTA_TABLE) in = valueOf<uint32_t>(attribute);
      if (mnl_attr_get_type(attribute) == RTA_OIF) by = valueOf<uint32_t>(attribute);
    }
    if (head.rtm_dst_len == 0 && in == table && by == link) found.push_back(true);
  };
  return !list<bool>(kj::mv(message), read).empty();
}

bool Rtnetlink::hasMarkRule(uint32_t mark, uint32_t table, bool ipv6) {
  NetlinkMessage message(RTM_GETRULE, 0, kj::str("cannot list the rules of routing"));
  message.header<fib_rule_hdr>().family = ipv6 ? AF_INET6 : AF_INET;
  auto read = [&](const nlmsghdr* answer, std::vector<bool>& found) {
    uint32_t marked = 0, to = 0;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(fib_rule_hdr))) {
      if (mnl_attr_get_type(attribute) == FRA_FWMARK) marked = valueOf<uint32_t>(attribute);
      if (mnl_attr_get_type(attribute) == FRA_TABLE) to = valueOf<uint32_t>(attribute);
    }
    if (marked == mark && to == table) found.push_back(true);
  };
  return !list<bool>(kj::mv(message), read).empty();
}

std::vector<Neighbour> Rtnetlink::permanentNeighbours() {
  NetlinkMessage message(RTM_GETNEIGH, 0, kj::str("cannot list neighbours"));
  message.header<ndmsg>().ndm_family = AF_INET;
  auto read = [](const nlmsghdr* answer, std::vector<Neighbour>& found) {
    auto head = headerOf<ndmsg>(answer);
    if ((head.ndm_state & NUD_PERMANENT) == 0) return;
    Neighbour neighbour;
    neighbour.link = head.ndm_ifindex;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(ndmsg))) {
      auto type = mnl_attr_get_type(attribute);
      if (type == NDA_DST) neighbour.address = ntohl(valueOf<uint32_t>(attribute));
      if (type == NDA_LLADDR) readMac(attribute, neighbour.mac);
    }
    if (neighbour.address != 0) found.push_back(neighbour);
  };
  return list<Neighbour>(kj::mv(message), read);
}

std::vector<Neighbour6> Rtnetlink::permanentNeighbours6() {
  NetlinkMessage message(RTM_GETNEIGH, 0, kj::str("cannot list neighbours"));
  message.header<ndmsg>().ndm_family = AF_INET6;
  auto read = [](const nlmsghdr* answer, std::vector<Neighbour6>& found) {
    auto head = headerOf<ndmsg>(answer);
    if ((head.ndm_state & NUD_PERMANENT) == 0) return;
    Neighbour6 neighbour;
    neighbour.link = head.ndm_ifindex;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(ndmsg))) {
      auto type = mnl_attr_get_type(attribute);
      if (type == NDA_DST) neighbour.address = valueOf<Ipv6>(attribute);
      if (type == NDA_LLADDR) readMac(attribute, neighbour.mac);
    }
    found.push_back(neighbour);
  };
  return list<Neighbour6>(kj::mv(message), read);
}

std::vector<RemoteMac> Rtnetlink::remoteMacs() {
  NetlinkMessage message(RTM_GETNEIGH, 0, kj::str("cannot list forwarding entries"));
  message.header<ndmsg>().ndm_family = AF_BRIDGE;
  auto read = [](const nlmsghdr* answer, std::vector<RemoteMac>& found) {
    auto head = headerOf<ndmsg>(answer);
    RemoteMac remote;
    remote.link = head.ndm_ifindex;
    bool whole = false;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(ndmsg))) {
      auto type = mnl_attr_get_type(attribute);
      if (type == NDA_DST) remote.host = hostOf(attribute);
      if (type == NDA_LLADDR) whole = readMac(attribute, remote.mac);
    }
    if (whole && remote.host.isKnown()) found.push_back(remote);
  };
  return list<RemoteMac>(kj::mv(message), read);
}

std::vector<Forwarding> Rtnetlink::forwardings() {
  NetlinkMessage message(RTM_GETNEIGH, 0, kj::str("cannot list forwarding entries"));
  message.header<ndmsg>().ndm_family = AF_BRIDGE;
  auto read = [](const nlmsghdr* answer, std::vector<Forwarding>& found) {
    auto head = headerOf<ndmsg>(answer);
    Forwarding forwarding;
    forwarding.port = head.ndm_ifindex;
    bool whole = false, ofBridge = false;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(ndmsg))) {
      auto type = mnl_attr_get_type(attribute);
      ofBridge |= type == NDA_MASTER;
      if (type == NDA_LLADDR) whole = readMac(attribute, forwarding.mac);
    }
    if (whole && ofBridge && (head.ndm_state & NUD_NOARP) != 0) found.push_back(forwarding);
  };
  return list<Forwarding>(kj::mv(message), read);
}

}  // namespace orch::network
