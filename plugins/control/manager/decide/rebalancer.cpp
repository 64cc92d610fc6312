#include "decide/rebalancer.h"

#include <algorithm>

#include "decide/mode.h"
#include "decide/spec-change.h"
#include "schedule/placement.h"
#include "state/events.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr int64_t FAILURE_NS = 300'000 * NS_PER_MS;  // as strategies remember it

// What a task has that only its node has.
bool isPinned(schema::ServiceSpec::Reader spec) {
  for (auto mount : spec.getTask().getContainer().getMounts()) {
    if (mount.getType() == schema::Mount::Type::VOLUME && mount.getSource().size() > 0) return true;
  }
  for (auto port : spec.getEndpoint().getPorts()) {
    if (port.getMode() == schema::PortSpec::PublishMode::HOST) return true;
  }
  return false;
}

// Nodes on which a task of the spec of now ended badly of late.
std::set<std::string> failures(const View& view, const Slots& slots) {
  std::set<std::string> nodes;
  for (auto& slot : slots) {
    for (auto& task : slot.tasks) {
      auto state = task.getStatus().getState();
      bool bad = state == TaskState::FAILED || state == TaskState::REJECTED;
      if (bad && task.endedAtNs() + FAILURE_NS > view.now()) nodes.insert(text(task.getNodeId()));
    }
  }
  return nodes;
}

// Where a task is was chosen by more than how many there are.
bool hasWishes(const View& view, schema::TaskSpec::Reader spec) {
  bool any = false;
  eachTerm(view.base().verdicts(), spec.getPlacement(),
           [&](Term& term) { any |= term.weight > 0; });
  return any;
}

std::string countText(int64_t count) { return count == 0 ? "none" : std::to_string(count); }
std::string tasksText(int64_t count) {
  return countText(count) + (count == 1 ? " task" : " tasks");
}

// The last slot with a task that runs there and is alone in it.
const Slot* slotOn(const Slots& slots, const std::string& nodeId, const std::set<SlotKey>& taken) {
  const Slot* found = nullptr;
  for (auto& slot : slots) {
    if (taken.count(slot.key) > 0) continue;
    size_t wanted = 0;
    bool there = false;
    for (auto& task : slot.tasks) {
      wanted += isWanted(task) && !isTerminal(task);
      there |= isRunning(task) && manager::view(task.getNodeId()) == nodeId;
    }
    if (there && wanted == 1) found = &slot;
  }
  return found;
}

}  // namespace

// A node as it is for one service.
struct Rebalancing::Place {
  std::string id;
  std::string hostname;
  int64_t tasks = 0;                  // of the service
  int64_t total = 0;                  // of all
  bool gives = false;                 // has one that can be moved
  bool takes = false;                 // could have one more
  std::vector<std::string> branches;  // values of the labels that are spread over
};

struct Rebalancing::Move {
  Place* from = nullptr;
  Place* to = nullptr;
  std::string why;
};

Rebalancing::Rebalancing(View& view, bool spreads)
    : view(view), spreads(spreads), nextNs(NEVER_NS) {
  KJ_IF_MAYBE (cluster, view.cluster()) {
    if (cluster->getRebalanceMax() == 0) return;
    everyNs = static_cast<int64_t>(cluster->getRebalanceEveryMs()) * NS_PER_MS;
    int64_t dueNs = cluster->getRebalancedAtNs() + everyNs;
    if (cluster->getRebalancedAtNs() != 0 && dueNs > view.now()) {
      nextNs = dueNs;
      return;
    }
    left = cluster->getRebalanceMax();
    names = view.serviceNames();
  }
}

bool Rebalancing::step() {
  if (next == names.size() || left == 0) {
    bool more = phase != Phase::BY_NODE && left > 0 && !names.empty();
    // What is moved for the services changes how many the nodes have.
    if (phase == Phase::BY_SERVICE) more &= !moved && !underWay;
    if (!more) return finish(), false;
    phase = phase == Phase::LOOK ? Phase::BY_SERVICE : Phase::BY_NODE;
    next = 0;
    return true;
  }
  auto id = view.serviceNamed(names[next++]);
  KJ_IF_MAYBE (service, view.service(id)) {
    if (phase == Phase::LOOK) {
      if (look(*service)) settled.insert(id);
    } else if (settled.count(id) > 0) {
      even(*service);
    }
  }
  return true;
}

void Rebalancing::finish() {
  if (moved) {
    auto id = text(KJ_ASSERT_NONNULL(view.cluster()).getMeta().getId());
    view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder cluster) {
      cluster.setRebalancedAtNs(view.now());
    });
  }
  if (moved || waits) nextNs = view.now() + everyNs;
}

// Whether tasks of it may be moved now.
bool Rebalancing::look(schema::Service::Reader service) {
  auto spec = service.getSpec();
  auto id = manager::view(service.getMeta().getId());
  int64_t wanted = view.unplaced(id);
  for (auto& entry : view.wantedByNode(id)) wanted += entry.second;
  auto strategy = spec.getTask().getPlacement().getStrategy();
  bool ours = modeOf(spec) == &REPLICATED && !isPinned(spec) && !hasWishes(view, spec.getTask()) &&
              (strategy.size() == 0 ? spreads : strategy == "spread");
  int64_t replicas = replicasOf(spec).orDefault(0);
  bool replaced = modeOf(spec) == &REPLICATED && wanted > replicas;
  underWay |= replaced;
  if (!ours) return false;
  bool quiet = !isUnderWay(service.getUpdate()) && !isPaused(service.getUpdate()) &&
               wanted == replicas && view.unplaced(id) == 0 && view.running(id) == replicas;
  waits |= !quiet && !isPaused(service.getUpdate());
  return quiet && replicas > 0;
}

bool Rebalancing::takesOneMore(schema::Node::Reader node, schema::Service::Reader service,
                               int64_t ofService) const {
  auto id = text(node.getMeta().getId());
  auto usage = view.nodeUsage(id);
  auto more = coming.find(id);
  if (more != coming.end()) {
    usage.cpuNanos += more->second.cpuNanos;
    usage.memoryBytes += more->second.memoryBytes;
    for (auto& held : more->second.generic) usage.generic[held.first].amount += held.second.amount;
  }
  return canTake(view, manager::view(service.getMeta().getId()), node, service.getSpec().getTask(),
                 service.getPorts(), usage, ofService);
}

std::vector<Rebalancing::Place> Rebalancing::placesOf(schema::Service::Reader service,
                                                      const std::set<std::string>& failedOn) const {
  std::vector<Place> places;
  auto labels = service.getSpec().getTask().getPlacement().getSpreadOver();
  auto counts = view.wantedByNode(manager::view(service.getMeta().getId()));
  view.anyNode([&](schema::Node::Reader node) {
    Place place;
    place.id = text(node.getMeta().getId());
    place.hostname = text(node.getDescription().getHostname());
    auto more = coming.find(place.id);
    auto count = counts.find(place.id);
    if (count != counts.end()) place.tasks = count->second;
    place.total =
        view.nodeUsage(place.id).wanted + (more == coming.end() ? 0 : more->second.wanted);
    bool active = view.stateOf(node) == schema::Node::State::READY &&
                  node.getAvailability() == schema::Node::Availability::ACTIVE;
    place.gives = active && place.tasks > 0;
    place.takes =
        active && failedOn.count(place.id) == 0 && takesOneMore(node, service, place.tasks);
    for (auto label : labels)
      place.branches.push_back(attributeOf(view, node, manager::view(label)));
    if (place.takes || place.tasks > 0) places.push_back(std::move(place));
    return false;
  });
  return places;
}

void Rebalancing::even(schema::Service::Reader service) {
  auto slots = view.slots(manager::view(service.getMeta().getId()));
  auto places = placesOf(service, failures(view, slots));
  Places all;
  for (auto& place : places) all.push_back(&place);
  std::set<SlotKey> taken;
  Move move;
  while (left > 0 && findMove(service, all, 0, move)) {
    auto slot = slotOn(slots, move.from->id, taken);
    if (slot == nullptr) {
      move.from->gives = false;
      continue;
    }
    taken.insert(slot->key);
    make(service, *slot, move);
  }
}

void Rebalancing::make(schema::Service::Reader service, const Slot& slot, const Move& move) {
  auto old =
      std::find_if(slot.tasks.begin(), slot.tasks.end(), [](auto& t) { return isRunning(t); });
  NewTask task;
  task.slot = slot.key;
  task.restartOf = old->id();
  task.node = move.to->id;
  task.why = REBALANCED.cStr() + move.why;
  createTask(view, service, task);
  --left;
  moved = true;
  auto resources = service.getSpec().getTask().getResources();
  auto& usage = coming[move.to->id];
  usage.cpuNanos += static_cast<int64_t>(resources.getReserveCpuNanos());
  usage.memoryBytes += static_cast<int64_t>(resources.getReserveMemoryBytes());
  addGeneric(usage.generic, resources.getGeneric(), 1);
  ++usage.wanted;
  --coming[move.from->id].wanted;
  --move.from->tasks;
  --move.from->total;
  ++move.to->tasks;
  ++move.to->total;
  move.from->gives = move.from->tasks > 0;
  auto node = KJ_ASSERT_NONNULL(view.node(move.to->id));
  move.to->takes = takesOneMore(node, service, move.to->tasks);
}

bool Rebalancing::findMove(schema::Service::Reader service, const Places& places, size_t level,
                           Move& move) const {
  auto labels = service.getSpec().getTask().getPlacement().getSpreadOver();
  return level < labels.size() ? findInBranches(service, places, level, move)
                               : findOnNodes(service, places, move);
}

// Between two values of the label, or within one of them.
bool Rebalancing::findInBranches(schema::Service::Reader service, const Places& places,
                                 size_t level, Move& move) const {
  struct Branch {
    int64_t tasks = 0;
    Place* giver = nullptr;  // the fullest
    Place* taker = nullptr;  // the emptiest
    Places places;
  };
  std::map<std::string, Branch> branches;
  for (auto place : places) {
    auto& branch = branches[place->branches[level]];
    branch.tasks += place->tasks;
    branch.places.push_back(place);
    bool fuller = branch.giver == nullptr || place->tasks > branch.giver->tasks;
    if (place->gives && fuller) branch.giver = place;
    bool emptier = branch.taker == nullptr || place->tasks < branch.taker->tasks;
    if (place->takes && emptier) branch.taker = place;
  }
  const std::pair<const std::string, Branch>* most = nullptr;
  const std::pair<const std::string, Branch>* least = nullptr;
  for (auto& entry : branches) {
    auto& branch = entry.second;
    bool more = most == nullptr || branch.tasks > most->second.tasks;
    if (branch.giver != nullptr && more) most = &entry;
    bool less = least == nullptr || branch.tasks < least->second.tasks;
    if (branch.taker != nullptr && less) least = &entry;
  }
  if (most == nullptr || least == nullptr) return false;
  if (most->second.tasks >= least->second.tasks + 2) {
    auto spec = service.getSpec();
    auto label = text(spec.getTask().getPlacement().getSpreadOver()[level]);
    move = {most->second.giver, least->second.taker,
            label + " '" + most->first + "' has " + tasksText(most->second.tasks) + " of " +
                text(spec.getName()) + ", '" + least->first + "' " +
                countText(least->second.tasks)};
    return true;
  }
  for (auto& entry : branches) {
    if (findMove(service, entry.second.places, level + 1, move)) return true;
  }
  return false;
}

bool Rebalancing::findOnNodes(schema::Service::Reader service, const Places& places,
                              Move& move) const {
  Place* from = nullptr;
  Place* to = nullptr;
  auto load = [](const Place* place) { return std::pair(place->tasks, place->total); };
  for (auto place : places) {
    if (place->gives && (from == nullptr || load(place) > load(from))) from = place;
    if (place->takes && (to == nullptr || load(place) < load(to))) to = place;
  }
  if (from == nullptr || to == nullptr || from == to) return false;
  auto name = text(service.getSpec().getName());
  if (from->tasks >= to->tasks + 2) {
    move = {from, to,
            from->hostname + " has " + tasksText(from->tasks) + " of " + name + ", " +
                to->hostname + " " + countText(to->tasks)};
    return true;
  }
  bool evens = phase == Phase::BY_NODE && from->tasks == to->tasks + 1;
  if (!evens || from->total < to->total + 2) return false;
  move = {from, to,
          from->hostname + " has " + tasksText(from->total) + ", " + to->hostname + " " +
              countText(to->total)};
  return true;
}

}  // namespace orch::control::manager
