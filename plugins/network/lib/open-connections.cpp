#include "lib/open-connections.h"

#include <arpa/inet.h>
#include <kj/debug.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <algorithm>
#include <set>
#include <vector>

#include "lib/netns.h"

namespace orch::network {

namespace {

// The kernel's numbers of a connection's states, which no header of its interface has beside those
// of the C library.
enum State : uint8_t {
  ESTABLISHED = 1,
  SYN_RECV = 3,
  FIN_WAIT1 = 4,
  CLOSE_WAIT = 8,
  LAST_ACK = 9,
  LISTEN = 10,
  CLOSING = 11,
};
constexpr uint32_t WATCHED = 1 << ESTABLISHED | 1 << SYN_RECV | 1 << FIN_WAIT1 | 1 << CLOSE_WAIT |
                             1 << LAST_ACK | 1 << LISTEN | 1 << CLOSING;

NetlinkSocket socketIn(kj::StringPtr path) {
  kj::Maybe<NetlinkSocket> made;
  inNamespace(path, [&]() { made.emplace(NETLINK_SOCK_DIAG); });
  return kj::mv(KJ_ASSERT_NONNULL(made));
}

bool isLoopback(const inet_diag_msg& answer) {
  if (answer.idiag_family == AF_INET) return (ntohl(answer.id.idiag_src[0]) >> 24) == 127;
  in6_addr address;
  memcpy(&address, answer.id.idiag_src, sizeof(address));
  bool mapped = IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127;
  return mapped || IN6_IS_ADDR_LOOPBACK(&address);
}

ConnectionFacts factsOf(const nlmsghdr* message, const inet_diag_msg& answer) {
  ConnectionFacts facts;
  facts.state = answer.idiag_state;
  facts.unread = answer.idiag_rqueue;
  facts.unsent = answer.idiag_wqueue;
  for (auto* attribute : NetlinkAttributes(message, sizeof(inet_diag_msg))) {
    if (mnl_attr_get_type(attribute) != INET_DIAG_INFO) continue;
    tcp_info info{};
    auto size = std::min<size_t>(mnl_attr_get_payload_len(attribute), sizeof(info));
    memcpy(&info, mnl_attr_get_payload(attribute), size);
    facts.heardMs = info.tcpi_last_data_recv;
    facts.answeredMs = info.tcpi_last_data_sent;
    // Both times begin with the connection, in ticks of some milliseconds: what comes in the first
    // of them is seen by its bytes only. Linux counts those that are sent since 4.19.
    bool counted = size >= offsetof(tcp_info, tcpi_bytes_sent) + sizeof(info.tcpi_bytes_sent);
    facts.unanswered = counted && info.tcpi_bytes_received > 0 && info.tcpi_bytes_sent == 0;
  }
  return facts;
}

struct Found {
  uint16_t port = 0;
  ConnectionFacts facts;
};

}  // namespace

bool isUnderWay(const ConnectionFacts& connection) {
  switch (connection.state) {
    case SYN_RECV:
      return true;
    case ESTABLISHED:
    case CLOSE_WAIT: {
      bool asked = connection.heardMs < connection.answeredMs || connection.unanswered;
      bool moving = std::min(connection.heardMs, connection.answeredMs) < QUIET_MS;
      return connection.unread > 0 || connection.unsent > 0 || asked || moving;
    }
    default:  // closed by the server, whose last words may be on their way
      return connection.unsent > 0;
  }
}

OpenConnections::OpenConnections(kj::StringPtr path) : socket(socketIn(path)) {}

uint32_t OpenConnections::underWay() {
  std::set<uint16_t> served;
  std::vector<Found> connections;
  for (uint8_t family : {AF_INET, AF_INET6}) {
    NetlinkMessage request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, kj::str("cannot list connections"));
    auto& head = request.header<inet_diag_req_v2>();
    head.sdiag_family = family;
    head.sdiag_protocol = IPPROTO_TCP;
    head.idiag_ext = 1 << (INET_DIAG_INFO - 1);
    head.idiag_states = WATCHED;
    socket.dump(request, [&](const nlmsghdr* message) {
      auto& answer = *static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(message));
      auto port = ntohs(answer.id.idiag_sport);
      if (answer.idiag_state == LISTEN) {
        served.insert(port);
      } else if (!isLoopback(answer)) {
        connections.push_back({port, factsOf(message, answer)});
      }
    });
  }
  return std::count_if(connections.begin(), connections.end(), [&](auto& found) {
    return served.count(found.port) > 0 && isUnderWay(found.facts);
  });
}

}  // namespace orch::network
