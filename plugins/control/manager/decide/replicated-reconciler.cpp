#include "decide/replicated-reconciler.h"

#include <algorithm>
#include <tuple>

namespace orch::control::manager {

namespace {
using schema::TaskState;

void removeSlot(View& view, const Slot& slot) {
  for (auto& task : slot.tasks) setDesired(view, task, TaskState::REMOVE);
}

// Those that go first: what does not run, then the n-th copy on its node with the highest n, then
// the highest slot.
std::vector<const Slot*> surplus(const std::vector<const Slot*>& occupied, size_t count) {
  struct Rank {
    std::tuple<bool, uint32_t, uint32_t> key;
    const Slot* slot;
  };
  std::vector<Rank> ranks;
  std::map<std::string, uint32_t> copies;
  for (auto slot : occupied) {
    bool running = false;
    std::string node;
    for (auto& task : slot->tasks) {
      if (!isRunning(task)) continue;
      running = true;
      node = text(task.getNodeId());
    }
    uint32_t copy = running ? ++copies[node] : 0;
    ranks.push_back({{!running, copy, slot->number}, slot});
  }
  std::sort(ranks.begin(), ranks.end(), [](auto& a, auto& b) { return a.key > b.key; });
  std::vector<const Slot*> result;
  for (size_t i = 0; i < count; ++i) result.push_back(ranks[i].slot);
  return result;
}

uint32_t createMissing(View& view, schema::Service::Reader service, const Slots& slots,
                       const std::set<uint32_t>& taken, uint32_t count) {
  std::map<uint32_t, const Slot*> history;
  for (auto& slot : slots) history[slot.number] = &slot;
  uint32_t created = 0;
  for (uint32_t number = 1; created < count && created < MAX_CREATED_PER_PASS; ++number) {
    if (taken.count(number) > 0) continue;
    NewTask task;
    task.slot = number;
    int64_t wakeAtNs = NEVER_NS;
    auto old = history.find(number);
    if (old != history.end() && !othersStopped(view, *old->second, {}, wakeAtNs)) {
      task.desired = TaskState::READY;
      if (wakeAtNs != NEVER_NS) view.wakeAt(manager::view(service.getMeta().getId()), wakeAtNs);
    }
    createTask(view, service, task);
    ++created;
  }
  return created;
}

}  // namespace

Replication reconcileReplicas(View& view, schema::Service::Reader service, const Slots& slots) {
  Replication result;
  std::vector<const Slot*> occupied;
  std::set<uint32_t> taken;
  for (auto& slot : slots) {
    if (stateOf(view, slot) == SlotState::DEAD) continue;
    occupied.push_back(&slot);
    taken.insert(slot.number);
  }
  uint32_t wanted = service.getSpec().getMode().getReplicated().getReplicas();
  if (occupied.size() < wanted) {
    uint32_t missing = wanted - occupied.size();
    uint32_t created = createMissing(view, service, slots, taken, missing);
    result.changed = true;
    result.unfinished = created < missing;
    return result;  // what history is left over belongs to a slot that is filled again
  }
  for (auto slot : surplus(occupied, occupied.size() - wanted)) {
    removeSlot(view, *slot);
    result.changed = true;
  }
  for (auto& slot : slots) {
    if (taken.count(slot.number) > 0 || slot.tasks.empty()) continue;
    removeSlot(view, slot);
    result.changed = true;
  }
  return result;
}

}  // namespace orch::control::manager
