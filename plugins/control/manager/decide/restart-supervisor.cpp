#include "decide/restart-supervisor.h"

#include <algorithm>

#include "decide/mode.h"
#include "schedule/placement.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;

void replace(View& view, schema::Service::Reader service, const Slot& slot, const TaskReader& old,
             int64_t delayNs) {
  auto oldId = old.id();
  int64_t unused = NEVER_NS;
  bool free = isStopped(view, old) && othersStopped(view, slot, oldId, unused);
  NewTask next;
  next.slot = slot.key;
  next.desired = delayNs == 0 && free ? TaskState::RUNNING : TaskState::READY;
  next.startAfterNs = delayNs == 0 ? 0 : view.now() + delayNs;
  next.restartOf = oldId;
  next.restarts = old.getSpecVersion() == service.getSpecVersion() ? old.getRestarts() + 1 : 0;
  createTask(view, service, next);
  if (delayNs > 0) view.wakeAt(manager::view(service.getMeta().getId()), next.startAfterNs);
}

// A node that is down or drained loses its tasks to others. If it is down and no other node could
// take this one, it stays where it is: the node may come back with the task still running.
bool canGoElsewhere(const View& view, const TaskReader& task, Room& room) {
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId())))
    return !isDown(*node) || room.any();
  return true;
}

// Whether a slot may get another task in place of one that ended.
bool goesOn(const View& view, schema::Service::Reader service, const Slot& slot) {
  auto claim = modeOf(service.getSpec())->claim(view, service, slot.key);
  return claim == Claim::WANTED || claim == Claim::KEPT;
}

// Whether the one that was to be replaced by it runs where it may, and is no worse: it was moved
// for nothing.
bool runsAnyway(const View& view, const Slot& slot, const TaskReader& task) {
  return std::any_of(slot.tasks.begin(), slot.tasks.end(), [&](auto& other) {
    return other.id() == text(task.getRestartOf()) && isRunning(other) &&
           other.getSpecVersion() == task.getSpecVersion() && !isOnDrained(view, other);
  });
}

bool superviseTask(View& view, schema::Service::Reader service, const Slot& slot, size_t index,
                   Room& room) {
  auto task = slot.tasks[index];
  if (!isWanted(task)) return false;
  if (isTerminal(task)) {
    bool again = !hasNewerWanted(slot, index) && mayRestart(view, slot, task) &&
                 !runsAnyway(view, slot, task) && goesOn(view, service, slot);
    // One that could not even be prepared sits its own delay out before the next is made: a task is
    // prepared during its delay, and an image that does not exist would be asked for in a loop.
    if (again && task.getStartAfterNs() > view.now()) {
      view.wakeAt(manager::view(service.getMeta().getId()), task.getStartAfterNs());
      return false;
    }
    int64_t delayNs =
        again ? restartDelayNs(task.record(), task.getSpec().getRestart(), task.getStatus()) : 0;
    setDesired(view, task, TaskState::SHUTDOWN);
    if (again) replace(view, service, slot, task, delayNs);
    return true;
  }
  // A slot that is a node cannot go elsewhere: whether its task ends is the mode's to say.
  bool node = slot.key.number == 0;
  if (node && !goesOn(view, service, slot)) return false;
  int64_t wakeAtNs = NEVER_NS;
  if (!node && mustLeave(view, service, task, wakeAtNs)) {
    if (hasNewerWanted(slot, index)) {
      setDesired(view, task, TaskState::SHUTDOWN);
      return true;
    }
    if (!mayRestart(view, slot, task) || !canGoElsewhere(view, task, room)) return false;
    setDesired(view, task, TaskState::SHUTDOWN);
    replace(view, service, slot, task, std::max<int64_t>(0, task.getStartAfterNs() - view.now()));
    return true;
  }
  auto serviceId = manager::view(service.getMeta().getId());
  if (wakeAtNs != NEVER_NS) view.wakeAt(serviceId, wakeAtNs);
  if (task.getDesired() != TaskState::READY) return false;

  if (task.getStartAfterNs() > view.now()) {
    view.wakeAt(serviceId, task.getStartAfterNs());
    return false;
  }
  wakeAtNs = NEVER_NS;
  if (!othersStopped(view, slot, manager::view(task.getMeta().getId()), wakeAtNs)) {
    if (wakeAtNs != NEVER_NS) view.wakeAt(serviceId, wakeAtNs);
    return false;
  }
  setDesired(view, task, TaskState::RUNNING);
  return true;
}

class RestartSupervisor final : public Reconciler {
 public:
  RestartSupervisor(View& view, schema::Service::Reader service)
      : view(view), service(service), room(view, service) {}
  void look(const Slot& slot) override {
    if (changed >= MAX_CHANGED_PER_PASS) return;
    for (size_t i = 0; i < slot.tasks.size(); ++i) {
      changed += superviseTask(view, service, slot, i, room);
    }
  }
  Step result() const override {
    Step result;
    result.changed = changed > 0;
    result.unfinished = changed >= MAX_CHANGED_PER_PASS;
    return result;
  }

 private:
  View& view;
  schema::Service::Reader service;
  Room room;
  uint32_t changed = 0;
};

}  // namespace

kj::Own<Reconciler> superviseRestarts(View& view, schema::Service::Reader service) {
  return kj::heap<RestartSupervisor>(view, service);
}

}  // namespace orch::control::manager
