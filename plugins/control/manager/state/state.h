// The whole state of the cluster in memory, as the store has it, with the indexes that keep a pass
// from looking at everything. Changed by `apply` alone, after the store has committed.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "state/id-index.h"
#include "state/kind.h"
#include "state/network-index.h"
#include "state/node-numbers.h"
#include "state/service-index.h"
#include "state/service-slots.h"
#include "state/shared-words.h"
#include "state/usage.h"

namespace orch::control::manager {

struct Key {
  Kind kind;
  std::string id;
  auto operator<=>(const Key&) const = default;
};

// What a pass wants of one object: other words, another status, both, or neither: none at all.
struct Change {
  Words words;
  Words status;
  bool isDelete() const { return words.size() == 0 && status.size() == 0; }
  // What the object is with it.
  Snapshot over(const Snapshot& before) const {
    if (isDelete()) return {};
    return {words.size() == 0 ? before.words : words.begin(),
            status.size() == 0 ? before.status : status.begin(),
            words.size() == 0 ? before.shared : nullptr};
  }
};

// What the leader has heard of a node, since it leads.
enum class Presence : uint8_t {
  SILENT,  // nothing yet
  HEARD,   // it is there
  STUCK,   // it is there, but its loop does not turn
  MISSED   // it was expected, and is not
};
struct Sighting {
  Presence presence = Presence::SILENT;
  int64_t sinceNs = 0;
  std::string reason;  // why it is not thought to be ready
};
inline bool isDown(schema::Node::Reader node) { return node.getDownSinceNs() != 0; }
// It is down since it left the cluster: it will not come back by itself.
inline constexpr kj::StringPtr LEFT = "left"_kj;
inline bool hasLeft(schema::Node::Reader node) { return node.getDownReason() == LEFT; }

class State final {
 public:
  using Objects = std::map<std::string, Object, std::less<>>;
  static void indexService(State& state, const Object& object, int sign, bool);
  static void indexRequest(State& state, const Object& object, int sign, bool);
  static void indexTask(State& state, const Object& object, int sign, bool whole);
  static void indexNetwork(State& state, const Object& object, int sign, bool);
  static void indexNode(State& state, const Object& object, int sign, bool);

  // Null if there is none. Valid until the object is deleted; its words until it changes.
  const Object* find(Kind kind, std::string_view id) const;
  Snapshot snapshot(const Key& key) const {
    auto object = find(key.kind, key.id);
    return object == nullptr ? Snapshot() : *object;
  }
  const Objects& all(Kind kind) const { return objects[static_cast<size_t>(kind)]; }

  void apply(const Key& key, Change change, uint64_t revision);
  // What is applied from now on happens then.
  void tick(int64_t nowNs) { networkIndex.nowNs = nowNs; }
  // All that is stored was applied, without a time.
  void loaded(int64_t nowNs);

  // Null if it has no tasks.
  const ServiceSlots* slots(std::string_view serviceId) const;
  const std::map<std::string, ServiceSlots, std::less<>>& tasksByService() const {
    return byService;
  }
  const std::set<std::string>& tasksOf(std::string_view nodeId) const;
  // Nodes that are down, and those that are no more but have tasks yet.
  const std::set<std::string, std::less<>>& awayNodes() const { return away; }
  const std::set<std::string, std::less<>>& drainedNodes() const { return drained; }
  // The service's slots with tasks on those, by node, and how many tasks.
  using SlotsByNode = std::map<std::string, std::map<SlotKey, uint32_t>>;
  const SlotsByNode& unwellSlots(std::string_view serviceId) const;
  const std::set<std::pair<int64_t, std::string>>& requestsByAge() const { return requests; }
  const UsageTable& usage() const { return use; }
  const ServiceIndex& services() const { return serviceIndex; }
  const NetworkIndex& networks() const { return networkIndex; }
  const SharedWords& sharedWords() const { return commonWords; }

  // Of those that are there.
  const NodeNumbers& nodeNumbers() const { return numbers; }
  // By when they last changed, or what was heard of them.
  const ChangeOrder& nodeChanges() const { return changedNodes; }
  // By when what their tasks hold last changed.
  const ChangeOrder& usageChanges() const { return changedUsage; }
  // A number of its own for each view.
  uint64_t countView() const { return ++views; }

  // ---- what is not stored ----
  // False if it was so before: then only the reason changes.
  bool setPresence(const std::string& nodeId, Sighting sighting);
  // Of one that was not heard of: since the state was loaded.
  const Sighting& sightingOf(std::string_view nodeId) const;
  // `node` as it is stored, or in a view.
  schema::Node::State stateOf(schema::Node::Reader node) const;
  Sighting unseen{Presence::SILENT, 0, "not heard of since the manager started"};
  // So far the leader is the only manager.
  bool isManager(std::string_view nodeId) const { return nodeId == leader; }
  std::string leader;  // id of the node that holds the epoch

  uint64_t revision = 0;      // of the newest commit
  int64_t newestStampNs = 0;  // the highest creation time seen

 private:
  void setWords(const KindTraits& traits, Object& object, Words words);
  void touchUsage(std::string_view nodeId);
  bool isUnwell(std::string_view nodeId) const {
    return away.count(nodeId) > 0 || drained.count(nodeId) > 0;
  }
  void addUnwell(const TaskReader& task);
  void removeUnwell(const TaskReader& task);
  void noteWhetherUnwell(const std::string& nodeId);

  SharedWords commonWords;
  std::array<Objects, KINDS> objects;
  std::array<IdIndex<Object>, KINDS> byId;  // the same ones
  std::map<std::string, ServiceSlots, std::less<>> byService;
  std::map<std::string, std::set<std::string>, std::less<>> byNode;
  std::set<std::string, std::less<>> away;
  std::set<std::string, std::less<>> drained;
  std::map<std::string, SlotsByNode, std::less<>> unwellByService;
  std::map<std::string, std::set<std::string>> servicesOfUnwell;  // those in it, by node
  std::set<std::pair<int64_t, std::string>> requests;
  ById<Sighting> sightings;
  UsageTable use;
  ServiceIndex serviceIndex;
  NetworkIndex networkIndex;
  std::set<std::string> noTasks;
  SlotsByNode noSlots;
  NodeNumbers numbers;
  ChangeOrder changedNodes;
  ChangeOrder changedUsage;
  mutable uint64_t views = 0;
};

}  // namespace orch::control::manager
