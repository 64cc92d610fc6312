// What is done to the kernel in one go, for all calls that wait. Blocking: for worker threads.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "lib/conntrack.h"
#include "record-text.h"
#include "rules.h"

namespace orch::network::ingress {

struct RuleChange {
  std::vector<Record> records;  // to be written first
  bool rebuild = false;         // `ports` and `nodesAfter` are everything, not what changes
  MeshFacts mesh;
  std::vector<PortChange> ports;
  std::set<Ipv4> nodesBefore, nodesAfter;
  std::vector<Record> goneRecords;
  std::vector<FlowsTo> forget;  // last
};
// Over a socket of NETLINK_NETFILTER, for one thread at a time. The text of what went wrong but
// does not matter to the callers; mostly empty.
std::string apply(const Layout& layout, NetlinkSocket& socket, const RuleChange& change);
void removeTable(const Layout& layout);

}  // namespace orch::network::ingress
