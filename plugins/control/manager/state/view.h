// The state as one pass sees it: what is stored, and over it what the pass has changed so far.
// Never a copy. Everything that decides reads and writes a View and nothing else, so that the same
// state, requests, time and seed give the same changes.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "state/state.h"

namespace orch::control::manager {

using Seed = std::array<uint64_t, 4>;

// The tasks of one slot, the oldest first. Those that are to be removed are not part of it.
struct Slot {
  SlotKey key;
  std::vector<TaskReader> tasks;
  std::vector<TaskReader> leaving;  // that are to be removed: no longer of it, but they may run yet
};

// Slots of a service that were read (slots-reader.h), by key.
class Slots final {
 public:
  auto begin() const { return slots.begin(); }
  auto end() const { return slots.end(); }
  size_t size() const { return slots.size(); }
  bool empty() const { return slots.empty(); }
  const Slot& operator[](size_t index) const { return slots[index]; }
  const Slot& front() const { return slots.front(); }
  const Slot& back() const { return slots.back(); }
  // Of all that were read, the oldest first.
  const std::vector<TaskReader>& leaving() const { return leavingTasks; }
  // Tasks of a slot that was not read, if all of them are to be removed.
  std::vector<TaskReader> leavingUnread(const SlotKey& key) const;
  // How many were not, in each of which one task runs, or is on its way to that.
  size_t settled() const { return stored == nullptr ? 0 : stored->settled() - settledRead; }
  size_t settledRunning() const {
    return stored == nullptr ? 0 : stored->settledRunning() - runningRead;
  }
  // Tasks of slots that were not read, all of whose tasks are to be removed.
  size_t leavingUnread() const { return stored == nullptr ? 0 : stored->leaving() - leavingRead; }
  // The first number from this one on that is not that of such a slot.
  uint32_t firstUnsettled(uint32_t number) const;
  // The same of slots that have completed in a run of a job.
  uint32_t completed(uint64_t iteration) const;
  // The first number from this one on that has not completed in it.
  uint32_t firstToDo(uint64_t iteration, uint32_t number) const;
  // Whether there is one beyond this number that was not read.
  bool goBeyond(uint32_t number) const;
  // Spec versions of such tasks are this one.
  bool settledAreOf(uint64_t specVersion) const;

 private:
  friend class SlotsReader;
  std::vector<Slot> slots;
  std::vector<TaskReader> leavingTasks;
  std::vector<SlotKey> readKeys;  // sorted; those of slots with no tasks left, too
  bool all = false;               // were read
  size_t settledRead = 0;
  size_t runningRead = 0;  // of these
  size_t leavingRead = 0;
  std::map<uint64_t, uint32_t> completedRead;
  const ServiceSlots* stored = nullptr;  // null: it had none before this pass
};

// Lives for one pass. Readers that it hands out are valid as long as it.
class View final {
 public:
  View(const State& state, int64_t nowNs, Seed seed)
      : state(state),
        nowNs(nowNs),
        seed(seed),
        stampNs(state.newestStampNs),
        serialNumber(state.countView()) {
    networkDelta.nowNs = nowNs;
  }
  // From what has become of the other one on. That must outlive what is read here.
  View(const View& other, Seed seed);
  KJ_DISALLOW_COPY(View);

  int64_t now() const { return nowNs; }
  // What would be: the time later than it is, and a node ready that nobody has heard of. For plans,
  // whose changes are not committed.
  void advance(int64_t toNs) { networkDelta.nowNs = nowNs = std::max(nowNs, toNs); }
  void assumeReady(std::string nodeId) {
    noteNode(nodeId);
    assumed.insert(std::move(nodeId));
  }
  const std::set<std::string, std::less<>>& assumedReady() const { return assumed; }
  schema::Node::State stateOf(schema::Node::Reader node) const;
  schema::Node::State stateAt(uint32_t number, schema::Node::Reader node) const {
    return touchedNodes.empty() ? state.stateAt(number, node) : stateOf(node);
  }
  // The object as it is now; null if there is none.
  Snapshot now(Kind kind, std::string_view id) const;
  uint64_t random();
  std::string newId();
  const State& base() const { return state; }

  template <typename T>
  kj::Maybe<typename T::Reader> find(Kind kind, std::string_view id) const {
    auto object = now(kind, id);
    if (!object) return nullptr;
    return object.as<T>();
  }
  auto service(std::string_view id) const { return find<schema::Service>(Kind::SERVICE, id); }
  kj::Maybe<TaskReader> task(std::string_view id) const {
    auto object = now(Kind::TASK, id);
    if (!object) return nullptr;
    return TaskReader(object);
  }
  auto node(std::string_view id) const { return find<schema::Node>(Kind::NODE, id); }
  kj::Maybe<schema::Node::Reader> node(uint32_t number) const;
  auto network(std::string_view id) const { return find<schema::Network>(Kind::NETWORK, id); }
  // The only one there is; null before `init`.
  kj::Maybe<schema::Cluster::Reader> cluster() const;
  // All nodes until `use` answers true; whether it did.
  template <typename F>
  bool anyNode(F&& use) const {
    for (auto& entry : state.all(Kind::NODE)) {
      KJ_IF_MAYBE (found, node(entry.first)) {
        if (use(*found)) return true;
      }
    }
    for (auto it = changed.lower_bound(Key{Kind::NODE, {}});
         it != changed.end() && it->first.kind == Kind::NODE; ++it) {
      bool isNew = !it->second.isDelete() && state.find(Kind::NODE, it->first.id) == nullptr;
      if (isNew && use(it->second.over({}).template as<schema::Node>())) return true;
    }
    return false;
  }
  // The same by number.
  template <typename F>
  bool anyNodeAt(F&& use) const {
    for (uint32_t number = 0; number < numberLimit(); ++number) {
      KJ_IF_MAYBE (found, node(number)) {
        if (use(number, *found)) return true;
      }
    }
    return false;
  }
  std::vector<schema::Node::Reader> nodes() const;
  // Counts the nodes that were looked at for a task: what a pass costs.
  void look() const { ++looks; }
  uint64_t looked() const { return looks; }
  // At most `limit` ids that begin with `prefix`, sorted.
  std::vector<std::string> idsWithPrefix(Kind kind, std::string_view prefix, size_t limit) const;
  std::vector<std::string> serviceNames() const;
  void lookAtSlot() const { ++slotLooks; }
  // Slots that were read.
  uint64_t slotsLooked() const { return slotLooks; }
  // All of them.
  Slots slots(std::string_view serviceId) const;
  // Its tasks that this pass has changed, made or taken away; null: none.
  using TaskIds = std::set<std::string, std::less<>>;
  const TaskIds* changedTasksOf(std::string_view serviceId) const;
  // Nodes that this pass has changed, made or taken away.
  std::vector<std::string> changedNodes() const;

  // Nodes by number: the state's, and after them those that this view makes, or gives tasks to.
  // `NodeNumbers::NONE` if it has none, an empty id if it is nobody's.
  uint32_t numberOf(std::string_view nodeId) const;
  const std::string& idOf(uint32_t number) const;
  uint32_t numberLimit() const {
    return state.nodeNumbers().limit() + static_cast<uint32_t>(newNodes.size());
  }
  // Which view of the state this is.
  uint64_t serial() const { return serialNumber; }
  // What this view has changed so far, in order: nodes, and what the tasks of nodes hold. By
  // number, some more than once.
  const std::vector<uint32_t>& nodesTouched() const { return touchedNodes; }
  const std::vector<uint32_t>& usageTouched() const { return touchedUsage; }

  // Resources and ports that tasks hold on a node, with this pass's changes.
  NodeUsage nodeUsage(std::string_view nodeId) const { return nodeUsage(numberOf(nodeId)); }
  NodeUsage nodeUsage(uint32_t node) const;
  // The same without the ports.
  NodeUsage held(std::string_view nodeId) const { return held(numberOf(nodeId)); }
  NodeUsage held(uint32_t node) const;
  // Of its tasks that should run, by the number of the node: what the state and the pass say each,
  // in two calls for one that both say something of.
  template <typename F>
  void eachWanted(std::string_view serviceId, F&& use) const {
    for (auto table : {&state.usage(), &usageDelta}) {
      for (auto& [node, on] : table->service(serviceId).byNode) use(node, on.wanted);
    }
  }
  // The nodes that have such tasks, by number, until `use` answers true; whether it did.
  template <typename F>
  bool anyWanted(std::string_view serviceId, F&& use) const {
    auto& stored = state.usage().service(serviceId);
    auto& delta = usageDelta.service(serviceId);
    for (auto& [node, on] : stored.byNode) {
      if (on.wanted + delta.on(node).wanted > 0 && use(node)) return true;
    }
    for (auto& [node, on] : delta.byNode) {
      auto known = stored.placeOf(node);
      bool isNew = known == stored.byNode.end() || known->first != node;
      if (isNew && on.wanted > 0 && use(node)) return true;
    }
    return false;
  }
  int64_t unplaced(std::string_view serviceId) const;
  std::map<std::string, int64_t> wantedByNode(std::string_view serviceId) const;
  int64_t wantedOn(std::string_view serviceId, std::string_view nodeId) const {
    return wantedOn(serviceId, numberOf(nodeId));
  }
  int64_t wantedOn(std::string_view serviceId, uint32_t node) const;
  // The service of that name; empty if there is none.
  std::string serviceNamed(std::string_view name) const;
  // Ids of those that depend on the one of that name.
  std::set<std::string> dependentsOf(std::string_view name) const;
  // Its tasks that run, but for those on nodes that are away.
  int64_t running(std::string_view serviceId) const;
  std::map<std::string, ServiceIndex::PortUse> portUse(uint32_t portKey) const;
  int64_t replicasOnNetwork(std::string_view network) const;
  // Names of services that are attached to the network, sorted.
  std::vector<std::string> servicesOn(std::string_view network) const;
  // The network that users made of that name, by id; empty if there is none.
  std::string networkNamed(std::string_view name) const;
  // Of networks that users made.
  std::vector<std::string> networkNames() const;
  // Who has which of a network's addresses.
  class Addresses final {
   public:
    // Whether a task or a service has it.
    bool isHeld(Ipv4 address) const;
    // How many of them are.
    int64_t held() const;
    // Until when it rests, after somebody has given it back; 0: nobody has of late.
    int64_t restsUntilNs(Ipv4 address) const;

   private:
    friend class View;
    const NetworkIndex::Held* heldIn[2] = {nullptr, nullptr};
    const NetworkIndex::Released* releasedIn[2] = {nullptr, nullptr};
  };
  // Valid until the view changes.
  Addresses addresses(std::string_view network) const;
  // What it had is forgotten, and that it has to rest as well, unless that is written down.
  void noteForgotten(const TaskReader& task);
  void noteForgotten(schema::VirtualAddress::Reader address);
  const std::set<std::string>& forgottenIn() const { return forgotten; }  // networks
  // Of the task that got one last; 0: none has.
  Ipv4 newestAddress(std::string_view network) const;

  // Makes a new object with an id, times and what `fill` sets. Answers the id.
  template <typename T, typename F>
  std::string create(Kind kind, F&& fill) {
    auto id = newId();
    createAs<T>(Key{kind, id}, fill);
    return id;
  }
  template <typename T, typename F>
  void createAs(const Key& key, F&& fill) {
    capnp::MallocMessageBuilder message(kj::arrayPtr(scratch.begin(), scratch.size()));
    auto object = message.initRoot<T>();
    auto meta = object.initMeta();
    meta.setId(key.id.c_str());
    meta.setCreatedAtNs(stamp());
    meta.setUpdatedAtNs(nowNs);
    fill(object);
    put(key, toWords(object.asReader()));
  }
  // Changes a copy of the object and puts it. The object must exist. Not for tasks.
  template <typename T, typename F>
  void edit(Kind kind, std::string_view id, F&& change) {
    auto before = KJ_ASSERT_NONNULL(find<T>(kind, id));
    capnp::MallocMessageBuilder message(kj::arrayPtr(scratch.begin(), scratch.size()));
    message.setRoot(before);
    auto object = message.getRoot<T>();
    change(object);
    object.getMeta().setUpdatedAtNs(nowNs);
    put(Key{kind, std::string(id)}, toWords(object.asReader()));
  }
  template <typename F>
  void editTask(const TaskReader& task, F&& change) {
    auto before = KJ_ASSERT_NONNULL(this->task(manager::view(task.getMeta().getId())));
    capnp::MallocMessageBuilder message(kj::arrayPtr(scratch.begin(), scratch.size()));
    message.setRoot(before.record());
    auto changed = message.getRoot<schema::Task>();
    before.fillShared(changed);
    change(changed);
    changed.getMeta().setUpdatedAtNs(nowNs);
    put(Key{Kind::TASK, task.id()}, toWords(changed.asReader()));
  }
  // The same of its status alone.
  template <typename F>
  void editStatus(const TaskReader& task, F&& change) {
    capnp::MallocMessageBuilder message(kj::arrayPtr(scratch.begin(), scratch.size()));
    message.setRoot(task.getStatus());
    auto status = message.getRoot<schema::TaskStatus>();
    if (!task.hasOwnStatus()) status.setAtNs(task.getMeta().getUpdatedAtNs());
    change(status);
    putStatus(Key{Kind::TASK, task.id()}, toWords(status.asReader()));
  }
  template <typename F>
  void editService(std::string_view id, F&& change) {
    edit<schema::Service>(Kind::SERVICE, id, change);
  }
  void put(const Key& key, Words words);
  void putStatus(const Key& key, Words status);
  void erase(const Key& key);

  // Asks for the service to be looked at again then.
  void wakeAt(std::string_view serviceId, int64_t atNs);

  const std::map<Key, Change>& changes() const { return changed; }
  std::map<Key, Change> takeChanges() { return kj::mv(changed); }
  // A status that cannot matter to what becomes of the service.
  void putStatusQuietly(const TaskReader& task, Words status);
  // Has the pass confirmed by the store even if it changes nothing: that this manager still leads.
  void confirm() { confirmed = true; }
  bool mustConfirm() const { return confirmed; }
  // Has the service looked at in this pass.
  void touch(std::string_view serviceId) { touched.insert(std::string(serviceId)); }
  // Services that have changed, or a task of theirs, since the last call.
  std::set<std::string> takeTouched() { return std::exchange(touched, {}); }
  const std::map<std::string, int64_t>& wakeUps() const { return wakes; }
  std::map<std::string, int64_t> takeWakeUps() { return std::exchange(wakes, {}); }

 private:
  void count(const Key& key, const Snapshot& object, int sign);
  void putRecord(const Key& key, Words Change::*record, Words words);
  void noteNode(const std::string& nodeId);
  uint32_t numberFor(std::string_view nodeId);
  // Creation times are unique, so that tasks of a slot have an order.
  int64_t stamp() { return stampNs = std::max(nowNs, stampNs + 1); }

  const State& state;
  int64_t nowNs;
  Seed seed;
  int64_t stampNs;
  uint64_t serialNumber;
  std::vector<std::string> newNodes;
  std::vector<uint32_t> touchedNodes;
  std::vector<uint32_t> touchedUsage;
  std::map<Key, Change> changed;
  std::vector<Words> replaced;                               // readers may still point into them
  std::map<std::string, TaskIds, std::less<>> changedTasks;  // by service
  std::set<std::string> touched;
  bool confirmed = false;
  std::set<std::string> forgotten;
  std::set<std::string, std::less<>> assumed;
  mutable uint64_t looks = 0;
  mutable uint64_t slotLooks = 0;
  std::map<std::string, int64_t> wakes;
  UsageTable usageDelta;
  ServiceIndex serviceDelta;
  NetworkIndex networkDelta;
  std::array<capnp::word, 2048> scratch{};  // first segment of every message that is built
};

}  // namespace orch::control::manager
