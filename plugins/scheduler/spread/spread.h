// Which of the nodes that passed the checks gets the next task: the one with the fewest tasks of
// the same service, then the fewest tasks at all. Pure: the same loads, group, count and seed give
// the same nodes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "orch/schema/scheduler.capnp.h"

namespace orch::scheduler::spread {

// Copyable: a copy is a fork. At most MAX_NODES nodes.
class SpreadTable final {
 public:
  static constexpr size_t MAX_NODES = 100'000;
  // In one call: as many as a service may have.
  static constexpr uint32_t MAX_TASKS = 1'000'000;

  explicit SpreadTable(uint32_t failureLimit) : failureLimit(failureLimit) {}

  void put(schema::NodeLoad::Reader node);
  void erase(const std::string& id);
  // One node id per task, as many as could be placed. Each placement counts for the next. More than
  // MAX_TASKS are refused: they would hold the loop for minutes.
  std::vector<std::string> place(schema::TaskGroup::Reader group, uint32_t count, uint64_t seed);

 private:
  struct ServiceLoad {
    uint32_t tasks = 0;
    uint32_t recentFailures = 0;
  };
  struct Node {
    uint64_t availableCpuNanos = 0;
    uint64_t availableMemoryBytes = 0;
    uint32_t tasks = 0;
    std::map<std::string, ServiceLoad> services;
  };
  uint32_t failureLimit;
  std::map<std::string, Node> nodes;
};

}  // namespace orch::scheduler::spread
