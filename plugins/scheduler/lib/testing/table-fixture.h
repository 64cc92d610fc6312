// For the strategies' tests: tables and groups in a few words.
#pragma once

#include <capnp/message.h>

#include <algorithm>
#include <map>
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
  uint32_t room = UINT32_MAX;
  bool image = false;
};

// A table, and what is said of `web` on its nodes with each group. Copyable, as a table is.
struct Table {
  PlacementTable table;
  std::vector<std::string> ids;  // by number
  std::map<std::string, Load> loads;
};

// Each of them has 4 cores and 1 GiB.
template <const Ranking& RANKING>
Table tableOf(const std::vector<Load>& loads) {
  Table made{PlacementTable::of<RANKING>(5), {}, {}};
  for (auto& load : loads) {
    capnp::MallocMessageBuilder message;
    auto node = message.initRoot<schema::NodeLoad>();
    node.setId(load.id.c_str());
    node.setNumber(made.ids.size());
    node.setTasks(load.tasks);
    node.setTotalCpuNanos(4'000'000'000);
    node.setTotalMemoryBytes(1 << 30);
    node.setAvailableCpuNanos(load.availableCpu);
    node.setAvailableMemoryBytes(load.availableMemory);
    made.table.put(node);
    made.ids.push_back(load.id);
    made.loads[load.id] = load;
  }
  return made;
}

struct Wish {
  uint32_t count = 1;
  uint64_t seed = 1;
  uint64_t cpu = 0;
  uint64_t memory = 0;
  uint32_t most = 0;
  std::vector<std::string> candidates = {"a", "b", "c"};
  std::vector<std::vector<uint32_t>> levels = {};                          // by node
  std::vector<std::pair<uint32_t, std::vector<std::string>>> wishes = {};  // weights, who meets it
};

inline void fill(Table& table, schema::TaskGroup::Builder group, const Wish& wish) {
  group.setServiceId("web");
  group.setReserveCpuNanos(wish.cpu);
  group.setReserveMemoryBytes(wish.memory);
  group.setMaxPerNode(wish.most);
  auto candidates = group.initCandidates(table.ids.size() / 64 + 1);
  auto loads = group.initLoads(table.ids.size());
  bool images = false;
  for (uint32_t i = 0; i < table.ids.size(); ++i) {
    auto& load = table.loads[table.ids[i]];
    bool isOne = std::count(wish.candidates.begin(), wish.candidates.end(), load.id) > 0;
    if (isOne) candidates.set(i / 64, candidates[i / 64] | uint64_t(1) << i % 64);
    loads[i].setNode(i);
    loads[i].setTasks(load.ofService);
    loads[i].setRecentFailures(load.failures);
    loads[i].setRoom(load.room);
    if (load.image) images = true;
  }
  if (images) {
    auto having = group.initHaving(candidates.size());
    for (uint32_t i = 0; i < table.ids.size(); ++i) {
      bool has = table.loads[table.ids[i]].image;
      if (has) having.set(i / 64, having[i / 64] | uint64_t(1) << i % 64);
    }
  }
  auto wishes = group.initWishes(wish.wishes.size());
  for (uint32_t i = 0; i < wishes.size(); ++i) {
    auto& [weight, meet] = wish.wishes[i];
    wishes[i].setWeight(weight);
    auto nodes = wishes[i].initNodes(table.ids.size() / 64 + 1);
    for (uint32_t k = 0; k < table.ids.size(); ++k) {
      bool met = std::count(meet.begin(), meet.end(), table.ids[k]) > 0;
      if (met) nodes.set(k / 64, nodes[k / 64] | uint64_t(1) << k % 64);
    }
  }
  auto levels = group.initLevels(wish.levels.size());
  for (uint32_t i = 0; i < levels.size(); ++i) {
    capnp::MallocMessageBuilder message;
    auto division = message.initRoot<schema::Division>();
    division.setId(i);
    auto branches = division.initBranches(wish.levels[i].size());
    for (uint32_t k = 0; k < branches.size(); ++k) branches.set(k, wish.levels[i][k]);
    table.table.put(division);
    levels.set(i, i);
  }
}

// What is placed is of the service from then on.
inline std::vector<std::string> place(Table& table, const Wish& wish) {
  capnp::MallocMessageBuilder message;
  auto group = message.initRoot<schema::TaskGroup>();
  fill(table, group, wish);
  std::vector<std::string> placed;
  for (auto node : table.table.place(group, wish.count, wish.seed)) {
    placed.push_back(table.ids[node]);
    ++table.loads[placed.back()].ofService;
  }
  return placed;
}

}  // namespace orch::scheduler
