#include "lib/placement-table.h"

#include <kj/debug.h>

#include <utility>

namespace orch::scheduler {

// One call of `place`.
class Placing final {
 public:
  Placing(PlacementTable& table, schema::TaskGroup::Reader group, uint32_t count, uint64_t seed)
      : table(table),
        call(table.nodes, group, seed, table.failureLimit),
        tree(table.branchesOf(group)),
        count(count),
        branches(tree->all.size()) {
    for (auto word : group.getCandidates()) candidates.push_back(word);
    call.eachOwn([&](uint32_t node, uint32_t tasks) { countTasks(node, tasks); });
    for (size_t i = branches.size(); i-- > 0;) order(i);
  }

  // False if no candidate has room.
  bool next(uint32_t& node) {
    node = take(0);
    return node != Branches::NONE;
  }

  // How the candidates stand for the first task.
  std::vector<PlacementTable::Score> scores() {
    auto& ranking = *table.ranking;
    std::vector<PlacementTable::Score> result;
    for (uint32_t node = 0; node < table.nodes.size(); ++node) {
      bool isOne = node / 64 < candidates.size() && (candidates[node / 64] >> node % 64 & 1) != 0;
      if (!isOne || !table.nodes.has(node)) continue;
      PlacementTable::Score score{node, {}};
      for (auto at = tree->leafOf[node]; at != Branches::NONE && at != 0;
           at = tree->all[at].parent) {
        score.terms.insert(score.terms.begin(),
                           {"tasks of the service in its part", int64_t(branches[at].tasks)});
      }
      auto terms = ranking.rank(call.standing(table.nodes, node), table.failureLimit);
      for (size_t term = 0; term < TERMS && ranking.names[term] != nullptr; ++term) {
        bool ofWishes = std::string_view(ranking.names[term]) == WISHES;
        if (ofWishes && call.wishes.empty()) continue;
        score.terms.emplace_back(ranking.names[term], terms[term]);
      }
      if (!ranking.draws && !call.having.empty()) {
        score.terms.emplace_back("image missing", call.fetches(node) ? 1 : 0);
      }
      result.push_back(std::move(score));
    }
    return result;
  }

 private:
  struct Branch {
    uint64_t tasks = 0;              // of the service
    std::vector<uint32_t> children;  // a heap; those that may have room
    std::vector<Ranked> best;        // of one that has no children
    bool opened = false;
  };

  void countTasks(uint32_t node, uint32_t tasks) {
    for (auto at = tree->leafOf[node]; at != Branches::NONE; at = tree->all[at].parent) {
      branches[at].tasks += tasks;
    }
  }
  // The one with the fewest tasks is on top; the seed decides between equals.
  auto later() const {
    return [this](uint32_t a, uint32_t b) {
      if (branches[a].tasks != branches[b].tasks) return branches[a].tasks > branches[b].tasks;
      return shuffled(call.seed + tree->all[a].number) > shuffled(call.seed + tree->all[b].number);
    };
  }
  void order(size_t at) {
    auto& children = branches[at].children;
    children = tree->all[at].children;
    std::make_heap(children.begin(), children.end(), later());
  }

  uint32_t take(uint32_t at) {
    auto& branch = branches[at];
    while (!branch.children.empty()) {
      auto below = branch.children.front();
      std::pop_heap(branch.children.begin(), branch.children.end(), later());
      auto node = take(below);
      if (node == Branches::NONE) {
        branch.children.pop_back();  // full, and never looked at again
        continue;
      }
      std::push_heap(branch.children.begin(), branch.children.end(), later());
      if (at == 0) --count;
      ++branch.tasks;
      return node;
    }
    return takeOne(at, branch);
  }

  uint32_t takeOne(uint32_t at, Branch& branch) {
    if (!std::exchange(branch.opened, true)) {
      branch.best = table.findBest(table.nodes, call, candidates, tree->all[at].nodes, count);
    }
    auto& best = branch.best;
    while (!best.empty()) {
      std::pop_heap(best.begin(), best.end(), worstFirst);
      auto& chosen = best.back();
      auto node = chosen.node;
      if (!call.fits(table.nodes, node)) {
        best.pop_back();  // full for this group: the same
        continue;
      }
      give(chosen);
      std::push_heap(best.begin(), best.end(), worstFirst);
      ++branch.tasks;
      return node;
    }
    return Branches::NONE;
  }

  void give(Ranked& to) {
    call.give(table.nodes, to.node);
    if (table.ranking->draws) {
      to.drawn +=
          interval(shuffled(shuffled(call.seed ^ table.nodes.hashes[to.node]) + ++to.taken));
    }
    to.terms = table.ranking->rank(call.standing(table.nodes, to.node), table.failureLimit);
  }

  PlacementTable& table;
  Call call;
  std::shared_ptr<const Branches> tree;
  size_t count;  // to be placed yet
  std::vector<uint64_t> candidates;
  std::vector<Branch> branches;  // as in `tree`
};

void PlacementTable::put(schema::NodeLoad::Reader load) {
  bool same = nodes.has(load.getNumber()) && load.getId() == nodes.ids[load.getNumber()].c_str();
  if (!same) trees.clear();
  nodes.put(load);
}

void PlacementTable::erase(const std::string& id) {
  trees.clear();
  nodes.erase(id);
}

void PlacementTable::put(schema::Division::Reader division) {
  KJ_REQUIRE(division.getBranches().size() <= NodeColumns::MAX_NODES, "too many nodes");
  trees.clear();
  auto& branches = divisions[division.getId()];
  branches.clear();
  for (auto branch : division.getBranches()) branches.push_back(branch);
  KJ_REQUIRE(divisions.size() <= MAX_DIVISIONS, "too many divisions for one placement table");
}

std::shared_ptr<const Branches> PlacementTable::branchesOf(schema::TaskGroup::Reader group) const {
  Levels levels;
  if (ranking->prefers) {
    for (auto level : group.getLevels()) levels.push_back(level);
  }
  KJ_REQUIRE(levels.size() <= MAX_LEVELS, "too many levels of preferences");
  auto& made = trees[levels];
  if (made != nullptr) return made;
  std::vector<const Branches::Division*> chosen;
  for (auto id : levels) {
    auto it = divisions.find(id);
    KJ_REQUIRE(it != divisions.end(), "a division that nothing was said of", id);
    chosen.push_back(&it->second);
  }
  return made = std::make_shared<const Branches>(nodes, chosen);
}

std::vector<uint32_t> PlacementTable::place(schema::TaskGroup::Reader group, uint32_t count,
                                            uint64_t seed) {
  KJ_REQUIRE(count <= MAX_TASKS, "too many tasks to be placed at once", count);
  Placing placing(*this, group, count, seed);
  std::vector<uint32_t> placed;
  uint32_t node;
  while (placed.size() < count && placing.next(node)) placed.push_back(node);
  return placed;
}

std::vector<PlacementTable::Score> PlacementTable::explain(schema::TaskGroup::Reader group) const {
  PlacementTable copy(*this);
  Placing placing(copy, group, 1, 0);
  return placing.scores();
}

}  // namespace orch::scheduler
