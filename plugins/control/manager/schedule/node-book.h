// What scheduling keeps of the nodes between passes, brought up to date by what changes and by
// nothing else: what is left on each, which could take tasks of a spec as far as that does not
// change with the tasks there, and in which part of a spread preference each is.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "schedule/neighbours.h"
#include "schedule/placement.h"

namespace orch::control::manager {

class NodeBook final {
 public:
  // By the tasks on a node.
  struct Held {
    int64_t cpuNanos = 0;
    int64_t memoryBytes = 0;
    int64_t wanted = 0;  // tasks that should run there
    GenericUsage generic;
    bool operator==(const Held&) const = default;
  };
  struct Load {
    std::string id;      // of the node that has, or had, the number; empty: none ever had
    bool there = false;  // it still has
    uint64_t cpuNanos = 0;
    uint64_t memoryBytes = 0;
    Held held;
    bool operator==(const Load&) const = default;
  };

  // Nodes for one kind of tasks, by number.
  struct Set {
    bool has(uint32_t node) const {
      return node / 64 < bits.size() && (bits[node / 64] >> node % 64 & 1) != 0;
    }
    std::vector<uint64_t> bits;     // that could take them, if there is room
    std::vector<uint8_t> verdicts;  // 0: it could; else what keeps it, one more than in `reasons`
    std::vector<std::pair<Refusal, std::string>> reasons;  // and its words, if it has any
    // Of each term about nodes that need not be met, in their order, those that meet it.
    struct Wish {
      uint32_t weight = 0;
      std::vector<uint64_t> bits;
    };
    std::vector<Wish> wishes;
    std::vector<uint32_t> unsure;  // of which a filter has yet to say; refused as long

   private:
    friend class NodeBook;
    uint64_t seen = 0;    // change of the nodes
    uint32_t judged = 0;  // numbers up to here, when it is new
    uint64_t usedAt = 0;
  };

  struct Division {
    uint32_t id = 0;
    uint64_t version = 0;            // counted up when it changes
    std::vector<uint32_t> branches;  // by node

   private:
    friend class NodeBook;
    uint64_t seen = 0;
    std::map<std::string, uint32_t> numbers;  // of values
  };

  // Of one group of tasks.
  struct Wanted {
    std::string_view serviceId;
    schema::TaskSpec::Reader spec;
    capnp::List<schema::PortSpec>::Reader ports;
  };

  // Of each kind of tasks that was asked for last.
  static constexpr size_t MAX_SETS = 1'024;
  static constexpr size_t MAX_DIVISIONS = 256;
  static constexpr uint32_t JUDGED_AT_ONCE = 1'000;

  // The state was loaded again: nothing that is known holds.
  void forget() { *this = NodeBook(); }
  // To be called before anything is asked, whenever the view may have changed.
  void catchUp(const View& view);

  // The nodes for tasks of the spec; null while there are more to judge: ask again. When questions
  // to filters have been answered, as well: those that it was unsure of are judged anew.
  const Set* find(const View& view, schema::TaskSpec::Reader spec);
  const Division& divide(const View& view, const std::string& label);
  // What keeps one more task from the node. `neighbours`: of the same service and spec.
  kj::Maybe<Refusal> refusal(const View& view, const Set& set, const Wanted& wanted, uint32_t node,
                             const Neighbours& neighbours) const;
  // So many tasks of the group the node can take for what a strategy is not told of: one if they
  // need a port of it, which is free, and as many as it has generic resources for.
  uint32_t room(const View& view, const Wanted& wanted, uint32_t node) const;
  // Every node with the reason why it cannot take one more, if there is one.
  Candidates explain(const View& view, const Set& set, const Wanted& wanted) const;

  uint32_t limit() const { return static_cast<uint32_t>(loads.size()); }
  const Load& load(uint32_t node) const { return loads[node]; }
  bool has(uint32_t node) const { return node < limit() && loads[node].there; }
  // By when they last changed.
  const ChangeOrder& loadChanges() const { return changedLoads; }
  // It may not be known elsewhere what is known here of it.
  void touchLoad(uint32_t node) { changedLoads.touch(node); }
  // Nodes that were judged for one kind of tasks: what all of it costs.
  uint64_t judgements() const { return judged; }

 private:
  void refreshNode(const View& view, uint32_t node);
  void refreshUsage(const View& view, uint32_t node);
  void judge(const View& view, schema::TaskSpec::Reader spec, uint32_t node, Set& set);
  Set& setOf(const std::string& key);

  std::vector<Load> loads;
  ChangeOrder changedLoads;
  ChangeOrder changedNodes;
  std::map<std::string, Set> sets;
  std::map<std::string, Division> divisions;
  uint32_t nextDivision = 0;
  uint64_t uses = 0;
  uint64_t judged = 0;

  uint64_t seenNodes = 0;  // changes of the state
  uint64_t seenUsage = 0;
  uint64_t viewSerial = 0;  // of the view that was seen last, so many changes of it
  size_t seenInView = 0;
  size_t seenUsageInView = 0;
  std::vector<uint32_t> nodesOfView;  // what it had changed, which may never come to be
  std::vector<uint32_t> usageOfView;
};

}  // namespace orch::control::manager
