#include "decide/updater.h"

#include <algorithm>

#include "decide/mode.h"
#include "schedule/placement.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
using schema::UpdateStatus;

// Where an update stands, by what its slots look like.
struct Survey {
  std::vector<const Slot*> outdated;  // not begun
  uint32_t occupied = 0;
  uint32_t busy = 0;      // in the middle of it, or within the delay after it
  uint32_t inFlight = 0;  // of the current spec, but not running, or the old one not stopped
  uint32_t failed = 0;
  std::string failure;   // of the first failed slot
  int64_t lastAtNs = 0;  // when the newest task of the current spec began to run
};

class Planner final {
 public:
  Planner(View& view, schema::Service::Reader service)
      : view(view),
        service(service),
        current(service),
        mode(*modeOf(service.getSpec())),
        policy(service.getSpec().getUpdate()),
        serviceId(manager::view(service.getMeta().getId())) {}

  bool retireReplaced(const Slots& slots);
  bool dropOvertaken(const Slots& slots);
  Survey survey(const Slots& slots);
  void setStatus(UpdateStatus::State state, const std::string& message);
  bool advance(const Slots& slots);
  bool unfinished = false;
  bool wantsAll = false;

 private:
  void surveySlot(const Slot& slot, Survey& result);
  bool failedIn(const Slot& slot, std::string& why);
  bool overdue(const TaskReader& task, std::string& why);
  bool ofThisUpdate(const TaskReader& task) const;
  bool takesPart(const Slot& slot) const;
  bool anyOutdated(const Slots& slots);
  void countDelay(const Slot& slot, const TaskReader& task, Survey& result);

  View& view;
  schema::Service::Reader service;
  CurrentSpec current;
  const Mode& mode;
  schema::UpdateConfig::Reader policy;
  std::string_view serviceId;
};

std::string fullName(const TaskReader& task) {
  return text(task.getServiceName()) + "." + nameOf(task.slot());
}

std::string endOf(const TaskReader& task) {
  auto status = task.getStatus();
  return "task " + fullName(task) +
         " ended: " + text(status.getError().size() > 0 ? status.getError() : status.getMessage());
}

// Once the newest task of a slot runs, or has done what it was for, the older ones are not needed:
// start-first.
bool Planner::retireReplaced(const Slots& slots) {
  bool changed = false;
  for (auto& slot : slots) {
    bool newerRuns = false;
    for (auto task = slot.tasks.rbegin(); task != slot.tasks.rend(); ++task) {
      if (newerRuns && isWanted(*task)) {
        setDesired(view, *task, TaskState::SHUTDOWN);
        changed = true;
      }
      newerRuns |= isRunning(*task) || (endedWell(*task) && current.matches(*task));
    }
  }
  return changed;
}

bool Planner::failedIn(const Slot& slot, std::string& why) {
  int64_t monitorNs = static_cast<int64_t>(policy.getMonitorMs()) * NS_PER_MS;
  for (auto& task : slot.tasks) {
    auto state = task.getStatus().getState();
    bool ended =
        state == TaskState::COMPLETE || state == TaskState::FAILED || state == TaskState::REJECTED;
    int64_t endedAtNs = task.endedAtNs();
    if (!ended || endedWell(task) || !current.matches(task)) continue;
    // A host that restarts says nothing about the new spec.
    if (task.getStatus().getContainer().getLost()) continue;
    if (endedAtNs < service.getUpdate().getStartedAtNs()) continue;
    if (task.runningAtNs() != 0 && endedAtNs - task.runningAtNs() > monitorNs) continue;
    why = endOf(task);
    return true;
  }
  return false;
}

bool Planner::overdue(const TaskReader& task, std::string& why) {
  if (policy.getProgressDeadlineMs() == 0) return false;
  int64_t sinceNs = std::max(task.getMeta().getCreatedAtNs(), service.getUpdate().getStartedAtNs());
  int64_t deadlineNs = sinceNs + static_cast<int64_t>(policy.getProgressDeadlineMs()) * NS_PER_MS;
  if (view.now() < deadlineNs) {
    view.wakeAt(serviceId, deadlineNs);
    return false;
  }
  why = "task " + fullName(task) + " does not run after " +
        std::to_string(policy.getProgressDeadlineMs() / 1000) + " s";
  if (task.getStatus().getError().size() > 0) why += ": " + text(task.getStatus().getError());
  return true;
}

// A change was taken back while the old task of a slot still ran (start-first): that one is current
// again, and what was to replace it is not needed.
bool Planner::dropOvertaken(const Slots& slots) {
  bool changed = false;
  for (auto& slot : slots) {
    if (slot.tasks.size() < 2) continue;
    size_t kept = slot.tasks.size();
    for (size_t i = 0; i < slot.tasks.size(); ++i) {
      if (isRunning(slot.tasks[i]) && !isOutdated(view, current, slot.tasks[i])) kept = i;
    }
    for (size_t i = kept + 1; i < slot.tasks.size(); ++i) {
      if (!isWanted(slot.tasks[i]) || !isOutdated(view, current, slot.tasks[i])) continue;
      setDesired(view, slot.tasks[i], TaskState::SHUTDOWN);
      changed = true;
    }
  }
  return changed;
}

void Planner::surveySlot(const Slot& slot, Survey& result) {
  auto task = representative(slot);
  std::string why;
  bool failed = failedIn(slot, why);
  // What runs on a drained node is replaced in any case: by the new spec then.
  bool old = isOutdated(view, current, task) || (slot.key.number > 0 && isOnDrained(view, task));
  if (old && !failed) {
    result.outdated.push_back(&slot);
    return;
  }
  bool runs = isRunning(task);
  bool settled = runs || hasCompleted(view, slot);
  if (!old && !settled && !failed) {
    bool done = stateOf(view, slot) == SlotState::DONE;  // and not well
    if (done) why = endOf(task);
    failed = done || overdue(task, why);
  }
  if (failed) {
    ++result.failed;
    if (result.failure.empty()) result.failure = why;
  }
  if (old) return;
  int64_t wakeAtNs = NEVER_NS;
  bool stopped = othersStopped(view, slot, {}, wakeAtNs);
  if (wakeAtNs != NEVER_NS) view.wakeAt(serviceId, wakeAtNs);
  if ((!settled && !failed) || !stopped) {
    ++result.inFlight;
    result.busy += task.getRestartOf().size() > 0;  // a new slot holds no other one up
    return;
  }
  if (!failed) result.lastAtNs = std::max(result.lastAtNs, task.runningAtNs());
  if (ofThisUpdate(task)) countDelay(slot, task, result);
}

bool Planner::ofThisUpdate(const TaskReader& task) const {
  return task.getRestartOf().size() > 0 &&
         task.getMeta().getCreatedAtNs() >= service.getUpdate().getStartedAtNs();
}

void Planner::countDelay(const Slot& slot, const TaskReader& task, Survey& result) {
  int64_t settledNs = isRunning(task) ? task.runningAtNs() : task.getMeta().getCreatedAtNs();
  for (auto& other : slot.tasks) {
    if (isTerminal(other)) settledNs = std::max(settledNs, other.endedAtNs());
  }
  int64_t delayNs = static_cast<int64_t>(policy.getDelayMs()) * NS_PER_MS;
  if (settledNs + delayNs > view.now()) {
    ++result.busy;
    view.wakeAt(serviceId, settledNs + delayNs);
  }
}

// Of a node that is paused or away nothing is replaced: that begins when it is back.
bool Planner::takesPart(const Slot& slot) const {
  return stateOf(view, slot) != SlotState::DEAD &&
         mode.claim(view, service, slot.key) == Claim::WANTED;
}

Survey Planner::survey(const Slots& slots) {
  Survey result;
  for (auto& slot : slots) {
    if (!takesPart(slot)) continue;
    ++result.occupied;
    surveySlot(slot, result);
  }
  return result;
}

// Or may be: of settled slots it is known what would have to be true of all of them.
bool Planner::anyOutdated(const Slots& slots) {
  if (!slots.settledAreOf(service.getSpecVersion())) return true;
  auto spec = service.getSpec().getTask();
  if (slots.settled() > 0 && spec.getPlacement().getConstraints().size() > 0) {
    for (auto& [nodeId, count] : view.wantedByNode(serviceId)) {
      KJ_IF_MAYBE (node, view.node(nodeId)) {
        if (count > 0 && !unmetConstraint(view, *node, spec).empty()) return true;
      }
    }
  }
  return std::any_of(slots.begin(), slots.end(), [&](auto& slot) {
    return takesPart(slot) && isOutdated(view, current, representative(slot));
  });
}

void Planner::setStatus(UpdateStatus::State state, const std::string& message) {
  view.editService(serviceId, [&](schema::Service::Builder changed) {
    auto status = changed.getUpdate();
    status.setState(state);
    status.setMessage(message.c_str());
    if (state == UpdateStatus::State::UPDATING) {
      status.setStartedAtNs(view.now());
      status.setCompletedAtNs(0);
    }
    if (state == UpdateStatus::State::COMPLETED) status.setCompletedAtNs(view.now());
  });
}

bool Planner::advance(const Slots& slots) {
  auto state = service.getUpdate().getState();
  bool updating = state == UpdateStatus::State::UPDATING;
  if (state == UpdateStatus::State::PAUSED) return false;
  if (!updating && !anyOutdated(slots)) return false;
  wantsAll = slots.settled() > 0;
  if (wantsAll) return false;
  if (!updating) {
    setStatus(UpdateStatus::State::UPDATING, "update in progress");
    service = KJ_ASSERT_NONNULL(view.service(serviceId));
  }
  auto now = survey(slots);
  bool pauses = policy.getFailureAction() != schema::UpdateConfig::FailureAction::CONTINUE;
  if (pauses && now.failed > policy.getMaxFailureRatio() * now.occupied) {
    setStatus(UpdateStatus::State::PAUSED, "update paused: " + now.failure);
    return true;
  }
  size_t allowed = now.outdated.size();
  if (policy.getParallelism() > 0) {
    allowed = now.busy >= policy.getParallelism() ? 0 : policy.getParallelism() - now.busy;
  }
  unfinished = std::min(allowed, now.outdated.size()) > MAX_CHANGED_PER_PASS;
  allowed = std::min<size_t>(allowed, MAX_CHANGED_PER_PASS);
  for (size_t i = 0; i < allowed && i < now.outdated.size(); ++i)
    replaceSlot(view, service, *now.outdated[i]);
  if (!now.outdated.empty()) return allowed > 0;
  if (now.inFlight > 0) return false;

  int64_t monitorNs = static_cast<int64_t>(policy.getMonitorMs()) * NS_PER_MS;
  if (now.lastAtNs != 0 && view.now() < now.lastAtNs + monitorNs) {
    view.wakeAt(serviceId, now.lastAtNs + monitorNs);
    return false;
  }
  setStatus(UpdateStatus::State::COMPLETED, "update completed");
  return true;
}

}  // namespace

TaskReader representative(const Slot& slot) {
  for (auto task = slot.tasks.rbegin(); task != slot.tasks.rend(); ++task) {
    if (isWanted(*task)) return *task;
  }
  return slot.tasks.back();
}

bool isOutdated(const View& view, CurrentSpec& current, const TaskReader& task) {
  if (!current.matches(task)) return true;
  auto spec = current.service().getSpec().getTask();
  if (spec.getPlacement().getConstraints().size() == 0) return false;
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId())))
    return !unmetConstraint(view, *node, spec).empty();
  return false;
}

Step advanceUpdate(View& view, schema::Service::Reader service, const Slots& slots) {
  Planner planner(view, service);
  // The slots are looked at again.
  Step result;
  result.changed =
      planner.retireReplaced(slots) || planner.dropOvertaken(slots) || planner.advance(slots);
  result.again = result.changed;
  result.unfinished = planner.unfinished;
  result.wantsAll = planner.wantsAll;
  return result;
}

}  // namespace orch::control::manager
