#include "lib/placement-table.h"

#include <kj/debug.h>

#include <cmath>
#include <memory>
#include <queue>
#include <set>
#include <tuple>

namespace orch::scheduler {

namespace {

// Breaks ties evenly between nodes and differently for every seed (splitmix64).
uint64_t shuffled(uint64_t value) {
  value += 0x9e3779b97f4a7c15ull;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

// How long until the next of events that come at random, once in a while on average.
double interval(uint64_t seed) {
  auto chance = static_cast<double>((seed >> 11) + 1) / (1ull << 53);
  return -std::log(chance);
}

uint64_t seedOf(const std::string& id, uint64_t seed) {
  return shuffled(seed ^ std::hash<std::string>()(id));
}

}  // namespace

// One call of `place`.
class Placing final {
 public:
  using Node = PlacementTable::Nodes::iterator;

  Placing(PlacementTable& table, schema::TaskGroup::Reader group, uint64_t seed)
      : table(table),
        serviceId(group.getServiceId().cStr()),
        cpu(group.getReserveCpuNanos()),
        memory(group.getReserveMemoryBytes()),
        most(group.getMaxPerNode()),
        seed(seed) {
    std::set<std::string> known;
    auto levels = group.getLevels();
    if (!table.ranking->prefers) levels = {};
    for (uint32_t i = 0; i < group.getCandidates().size(); ++i) {
      auto it = table.nodes.find(group.getCandidates()[i].cStr());
      if (it == table.nodes.end() || !known.insert(it->first).second) continue;
      Branch* branch = &root;
      for (auto level : levels) branch = &branch->child(level[i], seed);
      branch->candidates.push(candidate(it, tieOf(it)));
      addTasks(levels, it->second.services[serviceId].tasks, [&](auto level) { return level[i]; });
    }
    for (auto other : group.getElsewhere()) {
      if (other.getBranches().size() != levels.size()) continue;
      uint32_t at = 0;
      addTasks(levels, other.getTasks(), [&](auto) { return other.getBranches()[at++]; });
    }
    root.order();
  }

  // False if no candidate has room.
  bool next(std::string& nodeId) {
    auto node = take(root);
    if (node == table.nodes.end()) return false;
    nodeId = node->first;
    return true;
  }

  // How the candidates stand for the first task.
  std::vector<PlacementTable::Score> scores(schema::TaskGroup::Reader group) {
    auto& ranking = *table.ranking;
    std::vector<PlacementTable::Score> result;
    for (uint32_t i = 0; i < group.getCandidates().size(); ++i) {
      auto it = table.nodes.find(group.getCandidates()[i].cStr());
      if (it == table.nodes.end()) continue;
      PlacementTable::Score score{it->first, {}};
      auto branch = &root;
      for (auto level : group.getLevels()) {
        if (!ranking.prefers) break;
        branch = &branch->child(level[i], 0);
        score.terms.emplace_back("tasks of the service in its part", branch->tasks);
      }
      auto terms = this->terms(it->second);
      for (size_t term = 0; term < TERMS && ranking.names[term] != nullptr; ++term) {
        score.terms.emplace_back(ranking.names[term], terms[term]);
      }
      result.push_back(std::move(score));
    }
    return result;
  }

 private:
  struct Candidate {
    std::tuple<Terms, double, uint64_t> rank;  // the tie, if it is drawn anew or once
    Node node;
    uint32_t taken = 0;  // in this call
    bool operator<(const Candidate& other) const { return rank > other.rank; }
  };
  // Nodes that are alike in the levels so far; without levels below it holds them itself.
  struct Branch {
    uint64_t tasks = 0;  // of the service
    uint64_t tie = 0;
    std::map<uint32_t, std::unique_ptr<Branch>> children;
    struct Fewest {
      bool operator()(const Branch* a, const Branch* b) const {
        return std::tie(a->tasks, a->tie) > std::tie(b->tasks, b->tie);
      }
    };
    std::priority_queue<Branch*, std::vector<Branch*>, Fewest> queue;  // of the children
    std::priority_queue<Candidate> candidates;

    Branch& child(uint32_t number, uint64_t seed) {
      auto& entry = children[number];
      if (entry == nullptr) {
        entry = std::make_unique<Branch>();
        entry->tie = shuffled(seed + number);
      }
      return *entry;
    }
    void order() {
      for (auto& [number, below] : children) {
        below->order();
        queue.push(below.get());
      }
    }
  };

  std::pair<double, uint64_t> tieOf(Node node) const {
    auto own = seedOf(node->first, seed);
    return table.ranking->draws ? std::make_pair(interval(own), uint64_t(0))
                                : std::make_pair(0.0, own);
  }

  Candidate candidate(Node node, std::pair<double, uint64_t> tie) const {
    return {{terms(node->second), tie.first, tie.second}, node};
  }

  Terms terms(const PlacementTable::Node& node) const {
    Standing standing;
    auto service = node.services.find(serviceId);
    if (service != node.services.end()) {
      standing.ofService = service->second.tasks;
      standing.recentFailures = service->second.recentFailures;
    }
    standing.tasks = node.tasks;
    standing.totalCpuNanos = node.totalCpuNanos;
    standing.totalMemoryBytes = node.totalMemoryBytes;
    standing.reservedCpuNanos = node.totalCpuNanos - node.availableCpuNanos + cpu;
    standing.reservedMemoryBytes = node.totalMemoryBytes - node.availableMemoryBytes + memory;
    return table.ranking->rank(standing, table.failureLimit);
  }

  // Along a path of branches, as far as there are any.
  template <typename Levels, typename F>
  void addTasks(Levels levels, uint32_t tasks, F&& numberIn) {
    Branch* branch = &root;
    for (auto level : levels) {
      auto it = branch->children.find(numberIn(level));
      if (it == branch->children.end()) return;
      branch = it->second.get();
      branch->tasks += tasks;
    }
  }

  Node take(Branch& branch) {
    while (!branch.queue.empty()) {
      auto below = branch.queue.top();
      branch.queue.pop();
      auto node = take(*below);
      if (node == table.nodes.end()) continue;  // full, and never looked at again
      ++below->tasks;
      branch.queue.push(below);
      return node;
    }
    while (!branch.candidates.empty()) {
      auto best = branch.candidates.top();
      branch.candidates.pop();
      if (!fits(best.node->second)) continue;  // full for this group: the same
      give(best);
      branch.candidates.push(best);
      return best.node;
    }
    return table.nodes.end();
  }

  bool fits(PlacementTable::Node& node) const {
    return node.availableCpuNanos >= cpu && node.availableMemoryBytes >= memory &&
           (most == 0 || node.services[serviceId].tasks < most);
  }

  void give(Candidate& to) {
    auto& node = to.node->second;
    node.availableCpuNanos -= cpu;
    node.availableMemoryBytes -= memory;
    ++node.tasks;
    ++node.services[serviceId].tasks;
    auto tie = std::make_pair(std::get<1>(to.rank), std::get<2>(to.rank));
    if (table.ranking->draws) {
      tie.first += interval(shuffled(seedOf(to.node->first, seed) + ++to.taken));
    }
    to.rank = {terms(node), tie.first, tie.second};
  }

  PlacementTable& table;
  const std::string serviceId;
  const uint64_t cpu;
  const uint64_t memory;
  const uint32_t most;
  const uint64_t seed;
  Branch root;
};

void PlacementTable::put(schema::NodeLoad::Reader load) {
  Node node;
  node.availableCpuNanos = load.getAvailableCpuNanos();
  node.availableMemoryBytes = load.getAvailableMemoryBytes();
  node.totalCpuNanos = load.getTotalCpuNanos();
  node.totalMemoryBytes = load.getTotalMemoryBytes();
  node.tasks = load.getTasks();
  for (auto service : load.getServices()) {
    node.services[service.getServiceId().cStr()] =
        ServiceLoad{service.getTasks(), service.getRecentFailures()};
  }
  nodes[load.getId().cStr()] = std::move(node);
  KJ_REQUIRE(nodes.size() <= MAX_NODES, "too many nodes for one placement table");
}

std::vector<std::string> PlacementTable::place(schema::TaskGroup::Reader group, uint32_t count,
                                               uint64_t seed) {
  KJ_REQUIRE(count <= MAX_TASKS, "too many tasks to be placed at once", count);
  Placing placing(*this, group, seed);
  std::vector<std::string> placed;
  std::string nodeId;
  while (placed.size() < count && placing.next(nodeId)) placed.push_back(nodeId);
  return placed;
}

std::vector<PlacementTable::Score> PlacementTable::explain(schema::TaskGroup::Reader group) const {
  PlacementTable copy(*this);
  Placing placing(copy, group, 0);
  return placing.scores(group);
}

}  // namespace orch::scheduler
