// The first node, by id, that has room: fills nodes one after the other. Pure: the same loads,
// group and count give the same nodes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "orch/schema/scheduler.capnp.h"

namespace orch::scheduler::first {

// Copyable: a copy is a fork.
class FirstTable final {
 public:
  explicit FirstTable(uint32_t sparePercent) : sparePercent(sparePercent) {}
  static constexpr uint32_t MAX_TASKS = 1'000'000;  // in one call: as many as a service may have

  void put(schema::NodeLoad::Reader node);
  void erase(const std::string& id);
  // The number of a node per task, as many as could be placed. Each placement counts for the next.
  std::vector<uint32_t> place(schema::TaskGroup::Reader group, uint32_t count);

 private:
  struct Node {
    uint64_t freeCpuNanos = 0;
    uint64_t freeMemoryBytes = 0;
    uint32_t number = 0;
  };
  uint32_t sparePercent;
  std::map<std::string, Node> nodes;
};

}  // namespace orch::scheduler::first
