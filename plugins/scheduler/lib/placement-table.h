// The nodes as a strategy knows them, and the giving out of a group of equal tasks over them, one
// after the other to the best that has room. Pure: the same loads, group, count and seed give the
// same nodes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/best-nodes.h"
#include "lib/branches.h"

namespace orch::scheduler {

// Copyable: a copy is a fork.
class PlacementTable final {
 public:
  // In one call: as many as a service may have.
  static constexpr uint32_t MAX_TASKS = 1'000'000;
  static constexpr size_t MAX_DIVISIONS = 1'000;
  static constexpr size_t MAX_LEVELS = 32;

  // A node on which the service failed `failureLimit` times of late is the last choice.
  template <const Ranking& RANKING>
  static PlacementTable of(uint32_t failureLimit) {
    return PlacementTable(RANKING, scheduler::findBest<RANKING>, failureLimit);
  }

  void put(schema::NodeLoad::Reader node);
  void put(schema::Division::Reader division);
  void erase(const std::string& id);
  // A node per task, as many as could be placed. Each placement counts for the next. More than
  // MAX_TASKS are refused: they would hold the loop for minutes.
  std::vector<uint32_t> place(schema::TaskGroup::Reader group, uint32_t count, uint64_t seed);

  struct Score {
    uint32_t node;
    std::vector<std::pair<std::string, int64_t>> terms;
  };
  std::vector<Score> explain(schema::TaskGroup::Reader group) const;

 private:
  friend class Placing;
  using Levels = std::vector<uint32_t>;

  PlacementTable(const Ranking& ranking, FindBest find, uint32_t failureLimit)
      : ranking(&ranking), findBest(find), failureLimit(failureLimit) {}
  std::shared_ptr<const Branches> branchesOf(schema::TaskGroup::Reader group) const;

  const Ranking* ranking;
  FindBest findBest;
  uint32_t failureLimit;
  NodeColumns nodes;
  std::map<uint32_t, Branches::Division> divisions;
  // By the divisions that they are of, until those or the nodes change. Of this table, its forks
  // and the calls under way.
  mutable std::map<Levels, std::shared_ptr<const Branches>> trees;
};

}  // namespace orch::scheduler
