#include "first.h"

#include <kj/debug.h>

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
  node.number = load.getNumber();
  std::erase_if(nodes, [&](auto& other) { return other.second.number == node.number; });
  nodes[load.getId().cStr()] = node;
}

void FirstTable::erase(const std::string& id) { nodes.erase(id); }

std::vector<uint32_t> FirstTable::place(schema::TaskGroup::Reader group, uint32_t count) {
  KJ_REQUIRE(count <= MAX_TASKS, "too many tasks to be placed at once", count);
  const uint64_t cpu = group.getReserveCpuNanos();
  const uint64_t memory = group.getReserveMemoryBytes();
  const uint32_t most = group.getMaxPerNode();
  auto candidates = group.getCandidates();
  std::map<uint32_t, uint32_t> tasks;  // of the service, by node
  std::map<uint32_t, uint32_t> rooms;  // for more of them, where that is limited
  for (auto load : group.getLoads()) {
    tasks[load.getNode()] = load.getTasks();
    rooms[load.getNode()] = load.getRoom();
  }

  std::vector<uint32_t> placed;
  for (auto& [id, node] : nodes) {
    uint32_t word = node.number / 64;
    bool isOne = word < candidates.size() && (candidates[word] >> node.number % 64 & 1) != 0;
    if (!isOne) continue;
    auto& has = tasks[node.number];
    auto& room = rooms.try_emplace(node.number, UINT32_MAX).first->second;
    while (placed.size() < count && node.freeCpuNanos >= cpu && node.freeMemoryBytes >= memory &&
           (most == 0 || has < most) && room > 0) {
      node.freeCpuNanos -= cpu;
      node.freeMemoryBytes -= memory;
      ++has;
      --room;
      placed.push_back(node.number);
    }
  }
  return placed;
}

}  // namespace orch::scheduler::first
