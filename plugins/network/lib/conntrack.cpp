#include "lib/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>

namespace orch::network {

namespace {

// CTA_FILTER_F_CTA_IP_SRC, which is in the kernel's sources only: compare the source address.
constexpr uint32_t FILTER_BY_SOURCE = 1;
// The same for protocol and destination port.
constexpr uint32_t FILTER_BY_PORT = 1 << 3 | 1 << 5;
constexpr uint32_t LOOPBACK_NETWORK = 127;

NetlinkMessage newRequest(uint16_t type, const char* what, const FlowNames& names = {}) {
  NetlinkMessage message(NFNL_SUBSYS_CTNETLINK << 8 | type, 0, kj::str(what));
  auto& head = message.header<nfgenmsg>();
  head.nfgen_family = names ? AF_INET6 : AF_INET;
  head.version = NFNETLINK_V0;
  return message;
}

struct Tuple {
  Ipv4 source = 0;
  Ipv4 destination = 0;
  uint8_t protocol = 0;
  uint16_t port = 0;  // of the destination
};

struct Entry {
  Tuple asked;             // to whom the client meant
  Tuple answered;          // from who does
  bool rewritten = false;  // its destination
  uint8_t tcpState = TCP_CONNTRACK_NONE;
  std::vector<uint8_t> original;  // the tuple as the kernel wrote it
  std::vector<uint8_t> id;
  std::vector<uint8_t> zone;
};

std::vector<uint8_t> bytesOf(const nlattr* attribute) {
  auto* from = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
  return {from, from + mnl_attr_get_payload_len(attribute)};
}

Ipv4 nameOf(const nlattr* address, const FlowNames& names) {
  return names ? names(valueOf<Ipv6>(address)) : 0;
}

Tuple tupleOf(const nlattr* attribute, const FlowNames& names) {
  Tuple tuple;
  for (auto* part : NetlinkAttributes(attribute)) {
    bool ip = mnl_attr_get_type(part) == CTA_TUPLE_IP;
    bool proto = mnl_attr_get_type(part) == CTA_TUPLE_PROTO;
    for (auto* field : NetlinkAttributes(part)) {
      uint16_t type = mnl_attr_get_type(field);
      if (ip && type == CTA_IP_V4_SRC) tuple.source = ntohl(valueOf<uint32_t>(field));
      if (ip && type == CTA_IP_V4_DST) tuple.destination = ntohl(valueOf<uint32_t>(field));
      if (ip && type == CTA_IP_V6_SRC) tuple.source = nameOf(field, names);
      if (ip && type == CTA_IP_V6_DST) tuple.destination = nameOf(field, names);
      if (proto && type == CTA_PROTO_NUM) tuple.protocol = valueOf<uint8_t>(field);
      if (proto && type == CTA_PROTO_DST_PORT) tuple.port = ntohs(valueOf<uint16_t>(field));
    }
  }
  return tuple;
}

// TCP_CONNTRACK_NONE for other protocols.
uint8_t tcpStateOf(const nlattr* protocolInfo) {
  for (auto* part : NetlinkAttributes(protocolInfo)) {
    if (mnl_attr_get_type(part) != CTA_PROTOINFO_TCP) continue;
    for (auto* field : NetlinkAttributes(part)) {
      if (mnl_attr_get_type(field) == CTA_PROTOINFO_TCP_STATE) return valueOf<uint8_t>(field);
    }
  }
  return TCP_CONNTRACK_NONE;
}

Entry entryOf(const nlmsghdr* answer, const FlowNames& names) {
  Entry entry;
  for (auto* attribute : NetlinkAttributes(answer, sizeof(nfgenmsg))) {
    switch (mnl_attr_get_type(attribute)) {
      case CTA_TUPLE_ORIG:
        entry.asked = tupleOf(attribute, names);
        entry.original = bytesOf(attribute);
        break;
      case CTA_STATUS:
        entry.rewritten = (ntohl(valueOf<uint32_t>(attribute)) & IPS_DST_NAT) != 0;
        break;
      case CTA_PROTOINFO:
        entry.tcpState = tcpStateOf(attribute);
        break;
      case CTA_TUPLE_REPLY:
        entry.answered = tupleOf(attribute, names);
        break;
      case CTA_ID:
        entry.id = bytesOf(attribute);
        break;
      case CTA_ZONE:
        entry.zone = bytesOf(attribute);
        break;
      default:
        break;
    }
  }
  return entry;
}

// The kernel may answer more than was asked for, if it knows no filters: callers look again.
NetlinkMessage listRequest(const FlowNames& names = {}) {
  return newRequest(IPCTNL_MSG_CT_GET, "cannot list the connections", names);
}

void filterByServer(NetlinkMessage& message, Ipv4 server) {
  size_t tuple = message.nest(CTA_TUPLE_REPLY | NLA_F_NESTED);
  size_t ip = message.nest(CTA_TUPLE_IP | NLA_F_NESTED);
  message.putU32(CTA_IP_V4_SRC, htonl(server));
  message.endNest(ip);
  message.endNest(tuple);
  size_t filter = message.nest(CTA_FILTER | NLA_F_NESTED);
  message.putU32(CTA_FILTER_REPLY_FLAGS, FILTER_BY_SOURCE);
  message.endNest(filter);
}

void filterByPort(NetlinkMessage& message, const Unled& port) {
  size_t tuple = message.nest(CTA_TUPLE_ORIG | NLA_F_NESTED);
  size_t proto = message.nest(CTA_TUPLE_PROTO | NLA_F_NESTED);
  uint16_t number = htons(port.port);
  message.putU8(CTA_PROTO_NUM, port.protocol);
  message.put(CTA_PROTO_DST_PORT, &number, sizeof(number));
  message.endNest(proto);
  message.endNest(tuple);
  size_t filter = message.nest(CTA_FILTER | NLA_F_NESTED);
  message.putU32(CTA_FILTER_ORIG_FLAGS, FILTER_BY_PORT);
  message.endNest(filter);
}

// Those of the answers that `wanted` picks. One that both sides have closed leads nobody: who comes
// from the same port is a new connection to the kernel. It is left alone because that one may come
// between the list and the removal, and have the same tuple and, being made in the same memory, the
// same id. One that the server has reset (TCP_CONNTRACK_CLOSE) does lead who comes from that port.
template <typename Wanted>
size_t forgetListed(NetlinkSocket& socket, NetlinkMessage list, const FlowNames& names,
                    Wanted&& wanted) {
  std::vector<Entry> found;
  socket.dump(list, [&](const nlmsghdr* answer) {
    auto entry = entryOf(answer, names);
    bool closed = entry.tcpState == TCP_CONNTRACK_TIME_WAIT;
    if (!closed && wanted(entry)) found.push_back(std::move(entry));
  });
  for (auto& entry : found) {
    auto message = newRequest(IPCTNL_MSG_CT_DELETE, "cannot forget a connection", names);
    message.put(CTA_TUPLE_ORIG | NLA_F_NESTED, entry.original.data(), entry.original.size());
    if (!entry.zone.empty()) message.put(CTA_ZONE, entry.zone.data(), entry.zone.size());
    message.put(CTA_ID, entry.id.data(), entry.id.size());
    int error = socket.attempt(message);
    KJ_ASSERT(error == 0 || error == ENOENT, "cannot forget a connection", strerror(error));
  }
  return found.size();
}

}  // namespace

// The kernel walks its whole table for a list, 5 ms for the usual 262,144 buckets: once for all.
size_t forgetFlows(NetlinkSocket& socket, const std::vector<FlowsTo>& flows,
                   const FlowNames& names) {
  if (flows.empty()) return 0;
  auto list = listRequest(names);
  // Of IPv6 the kernel's filter lets all others pass (findings/conntrack-filter-ipv6.sh).
  if (flows.size() == 1 && !names) filterByServer(list, flows[0].server);
  return forgetListed(socket, kj::mv(list), names, [&](const Entry& entry) {
    return std::any_of(flows.begin(), flows.end(), [&](auto& flow) {
      return flow.server == entry.answered.source && (!flow.led || entry.rewritten) &&
             (flow.protocol == 0 || flow.protocol == entry.answered.protocol);
    });
  });
}

size_t forgetStrays(NetlinkSocket& socket, const std::function<bool(const LedFlow&)>& stray,
                    const FlowNames& names) {
  return forgetListed(socket, listRequest(names), names, [&](const Entry& entry) {
    return entry.rewritten && stray({entry.asked.protocol, entry.asked.destination,
                                     entry.asked.port, entry.answered.source});
  });
}

bool anyOpen(NetlinkSocket& socket, const std::vector<Ipv4>& servers, const FlowNames& names) {
  if (servers.empty()) return false;
  bool found = false;
  auto list = listRequest(names);
  socket.dump(list, [&](const nlmsghdr* answer) {
    auto entry = entryOf(answer, names);
    bool over = entry.tcpState == TCP_CONNTRACK_TIME_WAIT || entry.tcpState == TCP_CONNTRACK_CLOSE;
    found |= entry.rewritten && !over && entry.answered.protocol == IPPROTO_TCP &&
             std::find(servers.begin(), servers.end(), entry.answered.source) != servers.end();
  });
  return found;
}

size_t forgetUnled(NetlinkSocket& socket, const std::vector<Unled>& ports,
                   const std::vector<Ipv4>& local, const FlowNames& names) {
  if (ports.empty()) return 0;
  auto list = listRequest(names);
  if (ports.size() == 1) filterByPort(list, ports[0]);
  return forgetListed(socket, kj::mv(list), names, [&](const Entry& entry) {
    if (entry.rewritten) return false;
    auto target = entry.asked.destination;
    bool here = target >> 24 == LOOPBACK_NETWORK ||
                std::find(local.begin(), local.end(), target) != local.end();
    return here && std::any_of(ports.begin(), ports.end(), [&](auto& port) {
             return port.protocol == entry.asked.protocol && port.port == entry.asked.port;
           });
  });
}

size_t forgetUnled(NetlinkSocket& socket, const std::vector<Ipv4>& addresses,
                   const FlowNames& names) {
  if (addresses.empty()) return 0;
  return forgetListed(socket, listRequest(names), names, [&](const Entry& entry) {
    return !entry.rewritten && std::find(addresses.begin(), addresses.end(),
                                         entry.asked.destination) != addresses.end();
  });
}

}  // namespace orch::network
