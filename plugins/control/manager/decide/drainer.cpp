#include "decide/drainer.h"

#include <algorithm>

#include "decide/updater.h"

namespace orch::control::manager {

namespace {

// The task that this one was made for was moved from a node that is drained.
bool wasMoved(const View& view, const Slot& slot, const TaskReader& task) {
  return std::any_of(slot.tasks.begin(), slot.tasks.end(), [&](auto& older) {
    return task.getRestartOf() == older.getMeta().getId() && isOnDrained(view, older);
  });
}

// Whether others have to wait for it: it does not run yet, the old one has not stopped, or the
// delay after both is not over. One that ended, or is overdue, holds nobody up.
bool isMoving(View& view, schema::Service::Reader service, const Slot& slot,
              const TaskReader& task) {
  if (!wasMoved(view, slot, task) || isTerminal(task)) return false;
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

}  // namespace

Step drainNodes(View& view, schema::Service::Reader service, const Slots& slots) {
  Step result;
  if (service.getUpdate().getState() == schema::UpdateStatus::State::UPDATING) return result;
  std::vector<const Slot*> leaving;
  for (auto& slot : slots) {
    bool node = slot.key.number == 0;  // such a slot cannot go elsewhere
    auto task = representative(slot);
    if (!node && isRunning(task) && isOnDrained(view, task)) leaving.push_back(&slot);
  }
  if (leaving.empty()) return result;
  uint32_t moving = 0;
  for (auto& slot : slots) moving += isMoving(view, service, slot, representative(slot));
  uint32_t parallelism = service.getSpec().getUpdate().getParallelism();
  size_t allowed = leaving.size();
  if (parallelism > 0) allowed = moving >= parallelism ? 0 : parallelism - moving;
  result.unfinished = std::min(allowed, leaving.size()) > MAX_CHANGED_PER_PASS;
  allowed = std::min<size_t>(allowed, MAX_CHANGED_PER_PASS);
  for (size_t i = 0; i < allowed && i < leaving.size(); ++i) {
    replaceSlot(view, service, *leaving[i]);
    result.changed = true;
  }
  return result;
}

}  // namespace orch::control::manager
