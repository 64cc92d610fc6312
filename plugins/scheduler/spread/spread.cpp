#include "spread.h"

#include <kj/debug.h>

#include <queue>
#include <tuple>

namespace orch::scheduler::spread {

namespace {
// Breaks ties evenly between nodes and differently for every seed (splitmix64).
uint64_t shuffled(uint64_t value) {
  value += 0x9e3779b97f4a7c15ull;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}
}  // namespace

void SpreadTable::put(schema::NodeLoad::Reader load) {
  Node node;
  node.availableCpuNanos = load.getAvailableCpuNanos();
  node.availableMemoryBytes = load.getAvailableMemoryBytes();
  node.tasks = load.getTasks();
  for (auto service : load.getServices()) {
    node.services[service.getServiceId().cStr()] =
        ServiceLoad{service.getTasks(), service.getRecentFailures()};
  }
  nodes[load.getId().cStr()] = std::move(node);
  KJ_REQUIRE(nodes.size() <= MAX_NODES, "too many nodes for one placement table");
}

void SpreadTable::erase(const std::string& id) { nodes.erase(id); }

std::vector<std::string> SpreadTable::place(schema::TaskGroup::Reader group, uint32_t count,
                                            uint64_t seed) {
  KJ_REQUIRE(count <= MAX_TASKS, "too many tasks to be placed at once", count);
  const std::string serviceId = group.getServiceId().cStr();
  const uint64_t cpu = group.getReserveCpuNanos();
  const uint64_t memory = group.getReserveMemoryBytes();
  const uint32_t most = group.getMaxPerNode();

  struct Candidate {
    std::tuple<bool, uint32_t, uint32_t, uint64_t> rank;  // lower is better
    std::map<std::string, Node>::iterator node;
  };
  auto worse = [](const Candidate& a, const Candidate& b) { return a.rank > b.rank; };
  std::priority_queue<Candidate, std::vector<Candidate>, decltype(worse)> queue(worse);
  auto rank = [&](std::map<std::string, Node>::iterator it, uint64_t tie) {
    auto& service = it->second.services[serviceId];
    return std::make_tuple(service.recentFailures >= failureLimit, service.tasks, it->second.tasks,
                           tie);
  };
  for (auto id : group.getCandidates()) {
    auto it = nodes.find(id.cStr());
    if (it == nodes.end()) continue;
    queue.push({rank(it, shuffled(seed ^ std::hash<std::string>()(it->first))), it});
  }

  std::vector<std::string> placed;
  while (placed.size() < count && !queue.empty()) {
    auto best = queue.top();
    queue.pop();
    auto& node = best.node->second;
    auto& service = node.services[serviceId];
    bool fits = node.availableCpuNanos >= cpu && node.availableMemoryBytes >= memory &&
                (most == 0 || service.tasks < most);
    if (!fits) continue;  // full for this group: never looked at again in this call
    node.availableCpuNanos -= cpu;
    node.availableMemoryBytes -= memory;
    ++node.tasks;
    ++service.tasks;
    placed.push_back(best.node->first);
    queue.push({rank(best.node, std::get<3>(best.rank)), best.node});
  }
  return placed;
}

}  // namespace orch::scheduler::spread
