// The rules of placing once more: plain, slow and with nothing of the manager's own. It follows
// what becomes durable, and judges every task that is given a node: whether the node may have it,
// and whether none that may is better by what the strategy says that it goes by. Of constraints it
// knows `node.labels.KEY==VALUE` and `!=`, of affinities `service==NAME` and `!=`, each with or
// without a weight.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "orch/schema/objects.capnp.h"
#include "orch/testing/memory-store.h"

namespace orch::testing {

class PlacementOracle final {
 public:
  // A batch of the manager's store.
  // `allReady`: nobody knows a reason why a node that is not written down as down could not be
  // ready; else only whether the node may have the task is judged.
  void wrote(kj::ArrayPtr<const MemoryStore::Written> batch, int64_t nowNs, bool allReady = true);
  // Of a cluster where nothing goes on: why a task waits that could be placed, what is held twice,
  // or where there are more of a service than it wants; empty: all is well.
  std::string complaint() const;
  // The first placement that was wrong.
  const std::string& mistake() const { return wrong; }
  uint64_t judged() const { return judgements; }  // for where they are
  uint64_t waiting() const { return waits; }      // looked at by `complaint`
  // How many tasks of the service are where, by the values of the labels. Nodes that have none of a
  // combination count with 0.
  using Counts = std::map<std::vector<std::string>, uint32_t>;
  Counts spreadOf(const std::string& service, const std::vector<std::string>& labels) const;

  std::map<std::string, std::set<std::string>> images;  // digests, by node
  // Whether its node made the task by itself, while it was cut off: then nobody has placed it, and
  // it is where it is, even if nothing new may come there.
  std::function<bool(const std::string& task)> madeByItsNode;

 private:
  struct Set {
    uint64_t amount = 0;
    std::set<std::string> names;
  };
  struct Node {
    bool usable = false;
    int64_t cpu = 0, memory = 0;
    std::map<std::string, std::string> labels;
    std::map<std::string, Set> generic;
    // Of `node.labels.KEY`; empty if it has none.
    std::string valueOf(const std::string& label) const {
      auto it = labels.find(label.substr(sizeof("node.labels.") - 1));
      return it == labels.end() ? std::string() : it->second;
    }
  };
  struct Term {
    std::string key, value;
    bool negated = false;
    int64_t weight = 0;  // 0: it has to be met
    bool operator==(const Term&) const = default;
  };
  struct Wish {
    int64_t cpu = 0, memory = 0;
    std::map<std::string, uint64_t> generic;
    std::vector<Term> terms;
    std::vector<std::string> levels;
    std::set<uint16_t> ports;
    std::string strategy, digest;
    uint32_t most = 0;
    bool operator==(const Wish&) const = default;
  };
  struct Task {
    std::string service, node;
    uint32_t slot = 0;
    uint64_t version = 0;
    int64_t madeNs = 0, endedNs = 0;
    schema::TaskState desired = schema::TaskState::NEW;
    schema::TaskState state = schema::TaskState::PENDING;
    bool said = false;
    std::string error;
    Wish wish;
    std::map<std::string, Set> has;
    bool over() const {
      return state >= schema::TaskState::COMPLETE && state != schema::TaskState::REMOVE;
    }
    bool wanted() const { return desired <= schema::TaskState::RUNNING; }
    bool there() const { return !node.empty() && state >= schema::TaskState::ASSIGNED; }
    bool holds() const { return there() && !over(); }
  };
  using Tasks = std::map<std::string, Task>;
  using Key = std::vector<int64_t>;

  void take(const MemoryStore::Written& entry);
  void takeTask(Task& task, schema::Task::Reader written);
  static Term termOf(std::string text);
  bool meets(const Tasks& among, const std::string& node, const Task& task, const Term& term) const;
  bool mayHave(const Tasks& among, const std::string& node, const Task& task) const;
  std::set<std::string> leavingOf(const Tasks& among, const Task& task) const;
  // `oneByOne`: it can be told in which order, and from which nodes they were chosen.
  void judge(std::vector<Tasks::const_iterator> placed, int64_t nowNs, bool oneByOne);
  // `first`: as things were when its service's tasks of that spec were about to get nodes.
  void judge(const Tasks& among, const Tasks& first, const Task& task);
  Key standing(const Tasks& among, const Tasks& first, const std::string& node, const Task& task,
               const std::set<std::string>& leaving) const;
  bool failsOften(const Task& task, int64_t nowNs) const;

  std::map<std::string, Node> nodes;
  std::map<std::string, std::string> services;  // names
  Tasks tasks;
  std::string wrong;
  uint64_t judgements = 0;
  mutable uint64_t waits = 0;
};

}  // namespace orch::testing
