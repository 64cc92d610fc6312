// What is done to the kernel in one go, for all calls that wait. Blocking: for worker threads.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/conntrack.h"
#include "record-text.h"
#include "rules.h"

namespace orch::network::ingress {

// Of the table.
enum class TableWork {
  CHANGE,   // by the differences
  REBUILD,  // `ports` and `nodesAfter` are everything
  REMOVE,
  NONE,  // it is not there, and need not be
};

struct RuleChange {
  std::vector<Record> records;  // to be written first
  TableWork table = TableWork::CHANGE;
  MeshFacts mesh;
  std::vector<PortChange> ports;
  std::set<Ipv4> nodesBefore, nodesAfter;
  std::vector<FlowsTo> forget;
  std::map<Ipv6, Ipv4> names;       // of tasks
  std::vector<Record> goneRecords;  // last
};
// Over a socket of NETLINK_NETFILTER, for one thread at a time. The text of what went wrong but
// does not matter to the callers; mostly empty.
std::string apply(const Layout& layout, NetlinkSocket& socket, const RuleChange& change);

}  // namespace orch::network::ingress
