// The whole state of the cluster in memory, as the store has it, with the indexes that keep a pass
// from looking at everything. Changed by `apply` alone, after the store has committed.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "state/id-index.h"
#include "state/image-holders.h"
#include "state/kind.h"
#include "state/network-index.h"
#include "state/node-numbers.h"
#include "state/ordered-id.h"
#include "state/service-index.h"
#include "state/service-slots.h"
#include "state/shared-words.h"
#include "state/usage.h"
#include "state/verdicts.h"

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
// Its orchd ended: it took its leave, or its host ended the connection for it. So the host was
// there, where a silent one may be gone, and its tasks run on.
inline constexpr kj::StringPtr STOPPED = "stopped"_kj;
inline constexpr kj::StringPtr CLOSED = "connection closed"_kj;
inline bool isWithoutOrchd(schema::Node::Reader node) {
  return isDown(node) && (node.getDownReason() == STOPPED || node.getDownReason() == CLOSED);
}

class State final {
 public:
  using Objects = std::map<OrderedId, Object, OrderedId::Less>;
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
  // Ids, sorted: a copy.
  std::vector<std::string> tasksOf(std::string_view nodeId) const;
  // Nodes that are down, and those that are no more but have tasks yet: their numbers.
  const std::set<uint32_t>& awayNodes() const { return away; }
  // The service's slots with tasks on those or on drained nodes, by the number of the node, and how
  // many tasks.
  using SlotsByNode = std::map<uint32_t, std::map<SlotKey, uint32_t>>;
  const SlotsByNode& unwellSlots(std::string_view serviceId) const;
  const std::set<std::pair<int64_t, std::string>>& requestsByAge() const { return requests; }
  const UsageTable& usage() const { return use; }
  const NodeUsage& usageOf(std::string_view nodeId) const { return use.node(numbers.of(nodeId)); }
  const ServiceIndex& services() const { return serviceIndex; }
  const NetworkIndex& networks() const { return networkIndex; }
  const SharedWords& sharedWords() const { return commonWords; }

  // Of those that are there, or have tasks.
  const NodeNumbers& nodeNumbers() const { return numbers; }
  // Null if it is not there. Valid until it is deleted.
  const Object* nodeAt(uint32_t number) const {
    return number < nodes.size() ? nodes[number].object : nullptr;
  }
  // `node`: the one of that number, as it is stored.
  schema::Node::State stateAt(uint32_t number, schema::Node::Reader node) const {
    return stateOf(node, nodes[number].presence);
  }
  // By when they last changed, or what was heard of them.
  const ChangeOrder& nodeChanges() const { return changedNodes; }
  // By when what their tasks hold last changed.
  const ChangeOrder& usageChanges() const { return changedUsage; }
  // Counted up when a service changes. Not 0.
  uint64_t servicesVersion() const { return serviceChanges; }
  // A number of its own for each view.
  uint64_t countView() const { return ++views; }

  // ---- what is not stored ----
  // False if it was so before: then only the reason changes.
  bool setPresence(const std::string& nodeId, Sighting sighting);
  // Of one that was not heard of: since the state was loaded.
  const Sighting& sightingOf(std::string_view nodeId) const;
  // `node` as it is stored, or in a view.
  schema::Node::State stateOf(schema::Node::Reader node) const;
  static Sighting neverHeard(int64_t sinceNs) {
    return {Presence::SILENT, sinceNs, "not heard of since the manager started"};
  }
  Sighting unseen = neverHeard(0);
  bool isManager(std::string_view nodeId) const;
  std::string leader;  // id of the node that holds the epoch
  // What filters have said.
  Verdicts& verdicts() const { return *filterVerdicts; }
  const ImageHolders* images = nullptr;  // null: nobody says

  uint64_t revision = 0;      // of the newest commit
  int64_t newestStampNs = 0;  // the highest creation time seen

 private:
  void setWords(const KindTraits& traits, Object& object, Words words);
  // What there is to a number.
  struct NodeEntry {
    const Object* object = nullptr;    // null: it is not there, but has tasks
    std::vector<const Object*> tasks;  // in no order
    Presence presence = Presence::SILENT;
    bool isAway = false;
    bool isDrained = false;
    bool isUnwell() const { return isAway || isDrained; }
    std::set<std::string> unwellServices;  // those that have slots there, if it is either
  };
  uint32_t numberFor(std::string_view nodeId);
  static schema::Node::State stateOf(schema::Node::Reader node, Presence presence);
  void addToNode(const TaskReader& task, const Object& object);
  void removeFromNode(const TaskReader& task, const Object& object);
  void addUnwell(const TaskReader& task, uint32_t node);
  void removeUnwell(const TaskReader& task, uint32_t node);
  void setUnwell(uint32_t node, bool isAway, bool isDrained);
  void forgetUnwell(uint32_t node);
  void removeNode(uint32_t node);
  void forgetIfUnused(uint32_t node);

  SharedWords commonWords;
  std::array<Objects, KINDS> objects;
  std::array<IdIndex<Objects::value_type>, KINDS> byId;  // the same ones
  std::map<std::string, ServiceSlots, std::less<>> byService;
  std::vector<NodeEntry> nodes;  // by number
  std::set<uint32_t> away;
  std::map<std::string, SlotsByNode, std::less<>> unwellByService;
  std::set<std::pair<int64_t, std::string>> requests;
  ById<Sighting> sightings;
  UsageTable use;
  ServiceIndex serviceIndex;
  NetworkIndex networkIndex;
  SlotsByNode noSlots;
  NodeNumbers numbers;
  ChangeOrder changedNodes;
  ChangeOrder changedUsage;
  uint64_t serviceChanges = 1;
  mutable uint64_t views = 0;
  mutable kj::Own<Verdicts> filterVerdicts = kj::refcounted<Verdicts>();
};

}  // namespace orch::control::manager
