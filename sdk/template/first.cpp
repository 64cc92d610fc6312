#include "first.h"

#include <kj/debug.h>

#include <set>

namespace orch::scheduler::first {

namespace {
uint64_t without(uint64_t available, uint64_t total, uint32_t percent) {
  uint64_t spare = total / 100 * percent;
  return available > spare ? available - spare : 0;
}
}  // namespace

void FirstTable::put(schema::NodeLoad::Reader load) {
  Node node;
  node.freeCpuNanos = without(load.getAvailableCpuNanos(), load.getTotalCpuNanos(), sparePercent);
  node.freeMemoryBytes =
      without(load.getAvailableMemoryBytes(), load.getTotalMemoryBytes(), sparePercent);
  for (auto service : load.getServices()) {
    node.tasks[service.getServiceId().cStr()] = service.getTasks();
  }
  nodes[load.getId().cStr()] = std::move(node);
}

void FirstTable::erase(const std::string& id) { nodes.erase(id); }

std::vector<std::string> FirstTable::place(schema::TaskGroup::Reader group, uint32_t count) {
  KJ_REQUIRE(count <= MAX_TASKS, "too many tasks to be placed at once", count);
  const uint64_t cpu = group.getReserveCpuNanos();
  const uint64_t memory = group.getReserveMemoryBytes();
  const uint32_t most = group.getMaxPerNode();
  std::set<std::string> candidates;
  for (auto id : group.getCandidates()) candidates.insert(id.cStr());

  std::vector<std::string> placed;
  for (auto& id : candidates) {
    auto found = nodes.find(id);
    if (found == nodes.end()) continue;
    auto& node = found->second;
    auto& tasks = node.tasks[group.getServiceId().cStr()];
    while (placed.size() < count && node.freeCpuNanos >= cpu && node.freeMemoryBytes >= memory &&
           (most == 0 || tasks < most)) {
      node.freeCpuNanos -= cpu;
      node.freeMemoryBytes -= memory;
      ++tasks;
      placed.push_back(id);
    }
  }
  return placed;
}

}  // namespace orch::scheduler::first
