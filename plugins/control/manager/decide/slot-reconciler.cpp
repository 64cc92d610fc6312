#include "decide/slot-reconciler.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;

void removeSlot(View& view, const Slot& slot) {
  for (auto& task : slot.tasks) setDesired(view, task, TaskState::REMOVE);
}

void shutDown(View& view, const Slot& slot) {
  for (auto& task : slot.tasks) {
    if (isWanted(task)) setDesired(view, task, TaskState::SHUTDOWN);
  }
}

// Whether what is over in a slot has to be forgotten.
bool isForgotten(Claim claim) { return claim == Claim::WANTED || claim == Claim::GONE; }

void fillSlot(View& view, schema::Service::Reader service, const SlotKey& key, const Slot& before) {
  NewTask task;
  task.slot = key;
  int64_t wakeAtNs = NEVER_NS;
  if (!othersStopped(view, before, {}, wakeAtNs)) {
    task.desired = TaskState::READY;
    if (wakeAtNs != NEVER_NS) view.wakeAt(manager::view(service.getMeta().getId()), wakeAtNs);
  }
  createTask(view, service, task);
}

// Slots that were read of which nothing is left but tasks that are on their way out.
std::map<SlotKey, Slot> emptied(const Slots& slots) {
  std::map<SlotKey, Slot> result;
  for (auto& task : slots.leaving()) result[task.slot()].leaving.push_back(task);
  return result;
}

}  // namespace

Step reconcileSlots(View& view, schema::Service::Reader service, const Slots& slots) {
  Step result;
  std::vector<const Slot*> occupied;
  std::map<SlotKey, const Slot*> history;
  for (auto& slot : slots) {
    if (stateOf(view, slot) == SlotState::DEAD) {
      history[slot.key] = &slot;
    } else {
      occupied.push_back(&slot);
    }
  }
  auto mode = modeOf(service.getSpec());
  auto plan = mode->plan(view, service, slots, occupied);
  result.wantsAll = plan.wantsAll;
  if (plan.wantsAll) return result;
  std::map<SlotKey, Slot> left;
  if (!plan.missing.empty()) left = emptied(slots);
  for (auto& key : plan.missing) {
    auto known = history.find(key);
    auto leaver = left.try_emplace(key).first;
    if (leaver->second.leaving.empty()) leaver->second.leaving = slots.leavingUnread(key);
    fillSlot(view, service, key, known != history.end() ? *known->second : leaver->second);
    result.changed = true;
  }
  result.unfinished = plan.unfinished;
  for (auto slot : plan.superfluous) {
    if (mode->claim(view, service, slot->key) == Claim::UNWANTED) {
      shutDown(view, *slot);
    } else {
      removeSlot(view, *slot);
    }
    result.changed = true;
  }
  // What history is left over belongs to a slot that is filled.
  if (!plan.missing.empty() || plan.unfinished) return result;
  for (auto& entry : history) {
    if (entry.second->tasks.empty()) continue;
    if (!isForgotten(mode->claim(view, service, entry.first))) continue;
    removeSlot(view, *entry.second);
    result.changed = true;
  }
  return result;
}

}  // namespace orch::control::manager
