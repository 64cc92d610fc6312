#include "decide/drainer.h"

#include <algorithm>

#include "decide/spec-change.h"
#include "decide/updater.h"

namespace orch::control::manager {

namespace {

// The task that this one was made for was moved from a node that is drained.
bool wasMoved(const View& view, const Slot& slot, const TaskReader& task) {
  return std::any_of(slot.tasks.begin(), slot.tasks.end(), [&](auto& older) {
    return task.getRestartOf() == older.getMeta().getId() && isOnDrained(view, older);
  });
}

// Whether others have to wait for one that was moved: it does not run yet, the old one has not
// stopped, or the delay after both is not over. One that ended, or is overdue, holds nobody up.
bool isMoving(View& view, schema::Service::Reader service, const Slot& slot,
              const TaskReader& task) {
  if (isTerminal(task)) return false;
  auto policy = service.getSpec().getUpdate();
  auto serviceId = manager::view(service.getMeta().getId());
  int64_t wakeAtNs = NEVER_NS;
  bool moving = true;
  if (!isRunning(task)) {
    int64_t deadlineNs = policy.getProgressDeadlineMs() * NS_PER_MS;
    if (deadlineNs > 0) wakeAtNs = task.getMeta().getCreatedAtNs() + deadlineNs;
    moving = view.now() < wakeAtNs;
  } else if (othersStopped(view, slot, task.id(), wakeAtNs)) {
    int64_t settledNs = task.runningAtNs();
    for (auto& other : slot.tasks) {
      if (isWanted(other) && !isTerminal(other) && other.id() != task.id()) return true;
      if (isTerminal(other)) settledNs = std::max(settledNs, other.endedAtNs());
    }
    wakeAtNs = settledNs + static_cast<int64_t>(policy.getDelayMs()) * NS_PER_MS;
    moving = view.now() < wakeAtNs;
  }
  if (moving && wakeAtNs != NEVER_NS) view.wakeAt(serviceId, wakeAtNs);
  return moving;
}

class Drainer final : public Reconciler {
 public:
  Drainer(View& view, schema::Service::Reader service)
      : view(view), service(service), updating(isUnderWay(service.getUpdate())) {}

  void look(const Slot& slot) override {
    if (updating) return;
    auto task = representative(slot);
    bool node = slot.key.number == 0;  // such a slot cannot go elsewhere
    if (!node && isRunning(task) && isOnDrained(view, task)) leaving.push_back(&slot);
    if (wasMoved(view, slot, task)) moved.push_back(&slot);
  }
  bool act(const Slots&) override {
    if (leaving.empty()) return false;
    if (!counted) {
      count();
    } else if (done < allowed) {
      replaceSlot(view, service, *leaving[done++]);
    }
    return done < allowed;
  }
  Step result() const override {
    Step result;
    result.changed = done > 0;
    result.unfinished = unfinished;
    return result;
  }

 private:
  void count() {
    uint32_t moving = 0;
    for (auto slot : moved) moving += isMoving(view, service, *slot, representative(*slot));
    uint32_t parallelism = service.getSpec().getUpdate().getParallelism();
    allowed = leaving.size();
    if (parallelism > 0) {
      allowed = std::min<size_t>(allowed, moving >= parallelism ? 0 : parallelism - moving);
    }
    unfinished = allowed > MAX_CHANGED_PER_PASS;
    allowed = std::min<size_t>(allowed, MAX_CHANGED_PER_PASS);
    counted = true;
  }

  View& view;
  schema::Service::Reader service;
  const bool updating;
  std::vector<const Slot*> leaving;
  std::vector<const Slot*> moved;
  bool counted = false;
  size_t allowed = 0;
  size_t done = 0;
  bool unfinished = false;
};

}  // namespace

kj::Own<Reconciler> drainNodes(View& view, schema::Service::Reader service) {
  return kj::heap<Drainer>(view, service);
}

}  // namespace orch::control::manager
