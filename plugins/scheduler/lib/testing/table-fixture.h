// For the strategies' tests: tables and groups in a few words.
#pragma once

#include <capnp/message.h>

#include <string>
#include <vector>

#include "lib/placement-table.h"

namespace orch::scheduler {

struct Load {
  std::string id;
  uint32_t tasks = 0;
  uint32_t ofService = 0;  // of `web`
  uint32_t failures = 0;
  uint64_t availableCpu = 4'000'000'000;
  uint64_t availableMemory = 1 << 30;
};

// Each of them has 4 cores and 1 GiB.
inline PlacementTable tableOf(const Ranking& ranking, const std::vector<Load>& loads) {
  PlacementTable table(ranking, 5);
  for (auto& load : loads) {
    capnp::MallocMessageBuilder message;
    auto node = message.initRoot<schema::NodeLoad>();
    node.setId(load.id.c_str());
    node.setTasks(load.tasks);
    node.setTotalCpuNanos(4'000'000'000);
    node.setTotalMemoryBytes(1 << 30);
    node.setAvailableCpuNanos(load.availableCpu);
    node.setAvailableMemoryBytes(load.availableMemory);
    auto service = node.initServices(1)[0];
    service.setServiceId("web");
    service.setTasks(load.ofService);
    service.setRecentFailures(load.failures);
    table.put(node);
  }
  return table;
}

struct Wish {
  uint32_t count = 1;
  uint64_t seed = 1;
  uint64_t cpu = 0;
  uint64_t memory = 0;
  uint32_t most = 0;
  std::vector<std::string> candidates = {"a", "b", "c"};
  std::vector<std::vector<uint32_t>> levels = {};
  std::vector<std::pair<std::vector<uint32_t>, uint32_t>> elsewhere = {};
};

inline void fill(schema::TaskGroup::Builder group, const Wish& wish) {
  group.setServiceId("web");
  group.setReserveCpuNanos(wish.cpu);
  group.setReserveMemoryBytes(wish.memory);
  group.setMaxPerNode(wish.most);
  auto candidates = group.initCandidates(wish.candidates.size());
  for (uint32_t i = 0; i < candidates.size(); ++i) candidates.set(i, wish.candidates[i].c_str());
  auto levels = group.initLevels(wish.levels.size());
  for (uint32_t i = 0; i < levels.size(); ++i) {
    auto numbers = levels.init(i, wish.levels[i].size());
    for (uint32_t k = 0; k < numbers.size(); ++k) numbers.set(k, wish.levels[i][k]);
  }
  auto elsewhere = group.initElsewhere(wish.elsewhere.size());
  for (uint32_t i = 0; i < elsewhere.size(); ++i) {
    auto& [branches, tasks] = wish.elsewhere[i];
    auto list = elsewhere[i].initBranches(branches.size());
    for (uint32_t k = 0; k < list.size(); ++k) list.set(k, branches[k]);
    elsewhere[i].setTasks(tasks);
  }
}

inline std::vector<std::string> place(PlacementTable& table, const Wish& wish) {
  capnp::MallocMessageBuilder message;
  auto group = message.initRoot<schema::TaskGroup>();
  fill(group, wish);
  return table.place(group, wish.count, wish.seed);
}

}  // namespace orch::scheduler
