// What a table knows of the nodes, by their numbers: a column for each thing, since a call reads
// few of them of many nodes.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "lib/ranking.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::scheduler {

class NodeColumns final {
 public:
  static constexpr size_t MAX_NODES = 100'000;

  void put(schema::NodeLoad::Reader node);
  void erase(const std::string& id);

  size_t size() const { return ids.size(); }
  bool has(uint32_t number) const { return number < ids.size() && !ids[number].empty(); }

  std::vector<std::string> ids;  // empty: no node has the number
  std::vector<uint64_t> hashes;  // of the ids
  std::vector<uint64_t> availableCpuNanos;
  std::vector<uint64_t> availableMemoryBytes;
  std::vector<uint64_t> totalCpuNanos;
  std::vector<uint64_t> totalMemoryBytes;
  std::vector<uint32_t> tasks;

 private:
  std::map<std::string, uint32_t> numbers;
};

// What one call wants, and what it says of the service's own tasks.
struct Call {
  struct Own {
    uint32_t node = 0;
    uint32_t tasks = 0;
    uint32_t recentFailures = 0;
    uint32_t leaving = 0;
    uint32_t room = UINT32_MAX;  // for more tasks of the group
  };
  Call(const NodeColumns& nodes, schema::TaskGroup::Reader group, uint64_t seed,
       uint32_t failureLimit);

  bool fits(const NodeColumns& nodes, uint32_t node) const {
    return nodes.availableCpuNanos[node] >= cpu && nodes.availableMemoryBytes[node] >= memory &&
           (most == 0 || own[ownAt[node]].tasks < most) && own[ownAt[node]].room > 0;
  }
  // Whether a task has to wait there for its image, and there are nodes where it would not.
  bool fetches(uint32_t node) const {
    return !having.empty() &&
           (node / 64 >= having.size() || (having[node / 64] >> node % 64 & 1) == 0);
  }
  Standing standing(const NodeColumns& nodes, uint32_t node) const {
    auto& mine = own[ownAt[node]];
    Standing result;
    result.ofService = mine.tasks;
    result.tasks = nodes.tasks[node] - std::min(nodes.tasks[node], mine.leaving);
    result.recentFailures = mine.recentFailures;
    result.unmetWishes = unmet(node);
    result.totalCpuNanos = nodes.totalCpuNanos[node];
    result.totalMemoryBytes = nodes.totalMemoryBytes[node];
    result.reservedCpuNanos = result.totalCpuNanos - nodes.availableCpuNanos[node] + cpu;
    result.reservedMemoryBytes =
        result.totalMemoryBytes - nodes.availableMemoryBytes[node] + memory;
    return result;
  }
  uint64_t unmet(uint32_t node) const {
    uint64_t weight = 0;
    for (auto& wish : wishes) {
      bool met = node / 64 < wish.nodes.size() && (wish.nodes[node / 64] >> node % 64 & 1) != 0;
      if (!met) weight += wish.weight;
    }
    return weight;
  }
  // Every node that has tasks of the service.
  template <typename F>
  void eachOwn(F&& use) const {
    for (uint32_t i = 1; i < own.size(); ++i) {
      if (ownAt[own[i].node] == i && own[i].tasks > 0) use(own[i].node, own[i].tasks);
    }
  }
  // One more of the service there, for those that are to come in this call.
  void give(NodeColumns& nodes, uint32_t node);

  uint64_t cpu;
  uint64_t memory;
  uint32_t most;  // per node; 0: no limit
  uint64_t seed;
  uint32_t failureLimit;
  struct Wish {
    uint32_t weight;
    std::vector<uint64_t> nodes;  // that meet it
  };
  std::vector<Wish> wishes;
  std::vector<uint64_t> having;  // nodes with the image; empty: nobody says
  std::vector<uint32_t> ownAt;   // by node; 0: the first one, which is of all that have nothing
  std::vector<Own> own;
};

}  // namespace orch::scheduler
