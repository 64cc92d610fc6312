// The nodes as a strategy knows them, and the giving out of a group of equal tasks over them, one
// after the other to the best that has room. Pure: the same loads, group, count and seed give the
// same nodes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/ranking.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::scheduler {

// Copyable: a copy is a fork. At most MAX_NODES nodes.
class PlacementTable final {
 public:
  static constexpr size_t MAX_NODES = 100'000;
  // In one call: as many as a service may have.
  static constexpr uint32_t MAX_TASKS = 1'000'000;

  // A node on which the service failed `failureLimit` times of late is the last choice.
  PlacementTable(const Ranking& ranking, uint32_t failureLimit)
      : ranking(&ranking), failureLimit(failureLimit) {}

  void put(schema::NodeLoad::Reader node);
  void erase(const std::string& id) { nodes.erase(id); }
  // One node id per task, as many as could be placed. Each placement counts for the next. More than
  // MAX_TASKS are refused: they would hold the loop for minutes.
  std::vector<std::string> place(schema::TaskGroup::Reader group, uint32_t count, uint64_t seed);

  struct Score {
    std::string id;
    std::vector<std::pair<std::string, int64_t>> terms;
  };
  std::vector<Score> explain(schema::TaskGroup::Reader group) const;

 private:
  friend class Placing;
  struct ServiceLoad {
    uint32_t tasks = 0;
    uint32_t recentFailures = 0;
  };
  struct Node {
    uint64_t availableCpuNanos = 0;
    uint64_t availableMemoryBytes = 0;
    uint64_t totalCpuNanos = 0;
    uint64_t totalMemoryBytes = 0;
    uint32_t tasks = 0;
    std::map<std::string, ServiceLoad> services;
  };
  using Nodes = std::map<std::string, Node>;

  const Ranking* ranking;
  uint32_t failureLimit;
  Nodes nodes;
};

}  // namespace orch::scheduler
