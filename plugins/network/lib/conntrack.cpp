#include "lib/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

namespace orch::network {

namespace {

// CTA_FILTER_F_CTA_IP_SRC, which is in the kernel's sources only: compare the source address.
constexpr uint32_t FILTER_BY_SOURCE = 1;

NetlinkMessage newRequest(uint16_t type, const char* what) {
  NetlinkMessage message(NFNL_SUBSYS_CTNETLINK << 8 | type, 0, kj::str(what));
  auto& head = message.header<nfgenmsg>();
  head.nfgen_family = AF_INET;
  head.version = NFNETLINK_V0;
  return message;
}

struct Entry {
  Ipv4 server = 0;
  uint8_t protocol = 0;
  std::vector<uint8_t> original;  // the tuple as the kernel wrote it
  std::vector<uint8_t> id;
  std::vector<uint8_t> zone;
};

std::vector<uint8_t> bytesOf(const nlattr* attribute) {
  auto* from = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
  return {from, from + mnl_attr_get_payload_len(attribute)};
}

void readReply(const nlattr* tuple, Entry& entry) {
  for (auto* part : NetlinkAttributes(tuple)) {
    for (auto* field : NetlinkAttributes(part)) {
      uint16_t type = mnl_attr_get_type(field);
      if (mnl_attr_get_type(part) == CTA_TUPLE_IP && type == CTA_IP_V4_SRC) {
        entry.server = ntohl(mnl_attr_get_u32(field));
      } else if (mnl_attr_get_type(part) == CTA_TUPLE_PROTO && type == CTA_PROTO_NUM) {
        entry.protocol = mnl_attr_get_u8(field);
      }
    }
  }
}

Entry entryOf(const nlmsghdr* answer) {
  Entry entry;
  for (auto* attribute : NetlinkAttributes(answer, sizeof(nfgenmsg))) {
    switch (mnl_attr_get_type(attribute)) {
      case CTA_TUPLE_ORIG:
        entry.original = bytesOf(attribute);
        break;
      case CTA_TUPLE_REPLY:
        readReply(attribute, entry);
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
void dumpOf(NetlinkSocket& socket, const FlowsTo* only,
            kj::FunctionParam<void(const nlmsghdr*)> row) {
  auto message = newRequest(IPCTNL_MSG_CT_GET, "cannot list the connections");
  if (only != nullptr) {
    size_t tuple = message.nest(CTA_TUPLE_REPLY | NLA_F_NESTED);
    size_t ip = message.nest(CTA_TUPLE_IP | NLA_F_NESTED);
    message.putU32(CTA_IP_V4_SRC, htonl(only->server));
    message.endNest(ip);
    message.endNest(tuple);
    size_t filter = message.nest(CTA_FILTER | NLA_F_NESTED);
    message.putU32(CTA_FILTER_REPLY_FLAGS, FILTER_BY_SOURCE);
    message.endNest(filter);
  }
  socket.dump(message, row);
}

}  // namespace

size_t forgetFlows(NetlinkSocket& socket, const std::vector<FlowsTo>& flows) {
  std::vector<Entry> found;
  auto take = [&](const nlmsghdr* answer) {
    auto entry = entryOf(answer);
    for (auto& flow : flows) {
      if (flow.server != entry.server) continue;
      if (flow.protocol != 0 && flow.protocol != entry.protocol) continue;
      found.push_back(std::move(entry));
      return;
    }
  };
  if (flows.empty()) return 0;
  // The kernel walks its whole table each time, 5 ms for the usual 262,144 buckets: once for all.
  dumpOf(socket, flows.size() == 1 ? &flows[0] : nullptr, take);
  for (auto& entry : found) {
    auto message = newRequest(IPCTNL_MSG_CT_DELETE, "cannot forget a connection");
    message.put(CTA_TUPLE_ORIG | NLA_F_NESTED, entry.original.data(), entry.original.size());
    if (!entry.zone.empty()) message.put(CTA_ZONE, entry.zone.data(), entry.zone.size());
    message.put(CTA_ID, entry.id.data(), entry.id.size());
    int error = socket.attempt(message);
    KJ_ASSERT(error == 0 || error == ENOENT, "cannot forget a connection", strerror(error));
  }
  return found.size();
}

}  // namespace orch::network
