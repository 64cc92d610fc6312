#include "lib/node-columns.h"

#include <kj/debug.h>

namespace orch::scheduler {

void NodeColumns::put(schema::NodeLoad::Reader node) {
  uint32_t number = node.getNumber();
  KJ_REQUIRE(number < MAX_NODES, "too many nodes for one placement table", number);
  std::string id = node.getId().cStr();
  KJ_REQUIRE(!id.empty(), "a node without an id");
  if (number >= size()) {
    ids.resize(number + 1);
    hashes.resize(number + 1);
    for (auto column :
         {&availableCpuNanos, &availableMemoryBytes, &totalCpuNanos, &totalMemoryBytes}) {
      column->resize(number + 1);
    }
    tasks.resize(number + 1);
  }
  if (ids[number] != id) {
    if (has(number)) numbers.erase(ids[number]);
    erase(id);
    numbers[id] = number;
    ids[number] = id;
    hashes[number] = std::hash<std::string>()(id);
  }
  availableCpuNanos[number] = node.getAvailableCpuNanos();
  availableMemoryBytes[number] = node.getAvailableMemoryBytes();
  totalCpuNanos[number] = node.getTotalCpuNanos();
  totalMemoryBytes[number] = node.getTotalMemoryBytes();
  tasks[number] = node.getTasks();
}

void NodeColumns::erase(const std::string& id) {
  auto it = numbers.find(id);
  if (it == numbers.end()) return;
  ids[it->second].clear();
  numbers.erase(it);
}

Call::Call(const NodeColumns& nodes, schema::TaskGroup::Reader group, uint64_t seed,
           uint32_t failureLimit)
    : cpu(group.getReserveCpuNanos()),
      memory(group.getReserveMemoryBytes()),
      most(group.getMaxPerNode()),
      seed(seed),
      failureLimit(failureLimit),
      ownAt(nodes.size(), 0),
      own(1) {
  for (auto wish : group.getWishes()) {
    wishes.push_back({wish.getWeight(), {}});
    for (auto word : wish.getNodes()) wishes.back().nodes.push_back(word);
  }
  own.reserve(group.getLoads().size() + 1);
  for (auto load : group.getLoads()) {
    if (load.getNode() >= nodes.size()) continue;
    ownAt[load.getNode()] = static_cast<uint32_t>(own.size());
    own.push_back({load.getNode(), load.getTasks(), load.getRecentFailures(), load.getLeaving(),
                   load.getRoom()});
  }
  for (auto word : group.getHaving()) having.push_back(word);
}

void Call::give(NodeColumns& nodes, uint32_t node) {
  nodes.availableCpuNanos[node] -= cpu;
  nodes.availableMemoryBytes[node] -= memory;
  ++nodes.tasks[node];
  auto& at = ownAt[node];
  if (at == 0) {
    at = static_cast<uint32_t>(own.size());
    own.push_back({node});
  }
  ++own[at].tasks;
  if (own[at].room != UINT32_MAX) --own[at].room;
}

}  // namespace orch::scheduler
