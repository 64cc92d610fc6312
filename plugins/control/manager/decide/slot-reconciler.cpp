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

// Whether what is over in a slot has to be forgotten. Of a job it is what earlier runs were.
bool isForgotten(const Mode& mode, Claim claim) {
  return (claim == Claim::WANTED && !mode.job) || claim == Claim::GONE;
}

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

class SlotReconciler final : public Reconciler {
 public:
  SlotReconciler(View& view, schema::Service::Reader service)
      : view(view), service(service), mode(*modeOf(service.getSpec())) {}

  void look(const Slot& slot) override {
    if (stateOf(view, slot) == SlotState::DEAD) {
      history[slot.key] = &slot;
    } else {
      occupied.push_back(&slot);
    }
  }
  bool act(const Slots& slots) override {
    if (!planned) {
      makePlan(slots);
    } else if (done < plan.missing.size()) {
      fill(slots, plan.missing[done++]);
    } else if (done < plan.missing.size() + plan.superfluous.size()) {
      empty(*plan.superfluous[done++ - plan.missing.size()]);
    } else {
      return dropHistory();
    }
    return !plan.wantsAll;
  }
  Step result() const override { return step; }

 private:
  void makePlan(const Slots& slots) {
    plan = mode.plan(view, service, slots, occupied);
    planned = true;
    step.wantsAll = plan.wantsAll;
    step.unfinished = plan.unfinished;
    if (!plan.missing.empty()) left = emptied(slots);
  }
  void fill(const Slots& slots, const SlotKey& key) {
    auto known = history.find(key);
    auto leaver = left.try_emplace(key).first;
    if (leaver->second.leaving.empty()) leaver->second.leaving = slots.leavingUnread(key);
    fillSlot(view, service, key, known != history.end() ? *known->second : leaver->second);
    step.changed = true;
  }
  void empty(const Slot& slot) {
    if (mode.claim(view, service, slot.key) == Claim::UNWANTED) {
      shutDown(view, slot);
    } else {
      removeSlot(view, slot);
    }
    step.changed = true;
  }
  // What history is left over belongs to a slot that is filled.
  bool dropHistory() {
    if (!plan.missing.empty() || plan.unfinished || history.empty()) return false;
    auto slot = history.extract(history.begin()).mapped();
    if (slot->tasks.empty() || !isForgotten(mode, mode.claim(view, service, slot->key))) {
      return true;
    }
    removeSlot(view, *slot);
    step.changed = true;
    return true;
  }

  View& view;
  schema::Service::Reader service;
  const Mode& mode;
  std::vector<const Slot*> occupied;
  std::map<SlotKey, const Slot*> history;
  bool planned = false;
  SlotPlan plan;
  std::map<SlotKey, Slot> left;
  size_t done = 0;  // of the plan's slots
  Step step;
};

}  // namespace

kj::Own<Reconciler> reconcileSlots(View& view, schema::Service::Reader service) {
  return kj::heap<SlotReconciler>(view, service);
}

}  // namespace orch::control::manager
