#include "decide/updater.h"

#include <algorithm>
#include <utility>

#include "decide/dependencies.h"
#include "decide/mode.h"
#include "decide/spec-change.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "schedule/placement.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
using schema::UpdateStatus;
const std::string IN_PROGRESS = "update in progress";

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

// Surveys the slots, and then goes on with as many as the policy allows.
class Updater final : public Reconciler {
 public:
  Updater(View& view, schema::Service::Reader service)
      : view(view),
        service(service),
        current(service),
        mode(*modeOf(service.getSpec())),
        policy(policyOf(service)),
        serviceId(manager::view(service.getMeta().getId())),
        updating(isUnderWay(service.getUpdate())),
        paused(isPaused(service.getUpdate())) {}

  void look(const Slot& slot) override;
  bool act(const Slots& slots) override;
  Step result() const override { return step; }

 private:
  void surveySlot(const Slot& slot);
  bool failedIn(const Slot& slot, std::string& why);
  bool overdue(const TaskReader& task, std::string& why);
  bool ofThisUpdate(const TaskReader& task) const;
  bool takesPart(const Slot& slot) const;
  void countDelay(const Slot& slot, const TaskReader& task);
  void judge(const Slots& slots);
  bool waitsForOthers();
  void chooseSlots();
  void setStatus(UpdateStatus::State state, const std::string& message);
  void giveUp();
  void complete();

  View& view;
  schema::Service::Reader service;
  CurrentSpec current;
  const Mode& mode;
  schema::UpdateConfig::Reader policy;
  std::string_view serviceId;
  const bool updating;
  const bool paused;
  bool outdated = false;  // a slot is, and no update has begun
  Survey now;
  bool judged = false;
  size_t allowed = 0;  // slots to replace
  size_t done = 0;
  Step step;
};

std::string fullName(const TaskReader& task) {
  return text(task.getServiceName()) + "." + nameOf(task.slot());
}

std::string endOf(const TaskReader& task) {
  auto status = task.getStatus();
  return "task " + fullName(task) +
         " ended: " + text(status.getError().size() > 0 ? status.getError() : status.getMessage());
}

bool Updater::failedIn(const Slot& slot, std::string& why) {
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

bool Updater::overdue(const TaskReader& task, std::string& why) {
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

void Updater::surveySlot(const Slot& slot) {
  auto task = representative(slot);
  std::string why;
  bool failed = failedIn(slot, why);
  // What runs on a drained node is replaced in any case: by the new spec then.
  bool old = isOutdated(view, current, task) || (slot.key.number > 0 && isOnDrained(view, task));
  if (old && !failed) {
    now.outdated.push_back(&slot);
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
    ++now.failed;
    if (now.failure.empty()) now.failure = why;
  }
  if (old) return;
  int64_t wakeAtNs = NEVER_NS;
  bool stopped = othersStopped(view, slot, {}, wakeAtNs);
  if (wakeAtNs != NEVER_NS) view.wakeAt(serviceId, wakeAtNs);
  if ((!settled && !failed) || !stopped) {
    ++now.inFlight;
    now.busy += task.getRestartOf().size() > 0;  // a new slot holds no other one up
    return;
  }
  if (!failed) now.lastAtNs = std::max(now.lastAtNs, task.runningAtNs());
  if (ofThisUpdate(task)) countDelay(slot, task);
}

bool Updater::ofThisUpdate(const TaskReader& task) const {
  return task.getRestartOf().size() > 0 &&
         task.getMeta().getCreatedAtNs() >= service.getUpdate().getStartedAtNs();
}

void Updater::countDelay(const Slot& slot, const TaskReader& task) {
  int64_t settledNs = isRunning(task) ? task.runningAtNs() : task.getMeta().getCreatedAtNs();
  for (auto& other : slot.tasks) {
    if (isTerminal(other)) settledNs = std::max(settledNs, other.endedAtNs());
  }
  int64_t delayNs = static_cast<int64_t>(policy.getDelayMs()) * NS_PER_MS;
  if (settledNs + delayNs > view.now()) {
    ++now.busy;
    view.wakeAt(serviceId, settledNs + delayNs);
  }
}

// Of a node that is paused or away nothing is replaced: that begins when it is back.
bool Updater::takesPart(const Slot& slot) const {
  return stateOf(view, slot) != SlotState::DEAD &&
         mode.claim(view, service, slot.key) == Claim::WANTED;
}

void Updater::look(const Slot& slot) {
  if (paused || outdated || !takesPart(slot)) return;
  if (!updating) {
    outdated = isOutdated(view, current, representative(slot));
    return;
  }
  ++now.occupied;
  surveySlot(slot);
}

bool Updater::act(const Slots& slots) {
  if (paused) return false;
  if (!std::exchange(judged, true)) {
    judge(slots);
  } else {
    replaceSlot(view, service, *now.outdated[done++]);
  }
  return done < allowed;
}

void Updater::judge(const Slots& slots) {
  if (!updating && !outdated && !settledMayBeOutdated(view, service, slots)) return;
  step.wantsAll = slots.settled() > 0;
  if (step.wantsAll) return;
  if (!updating) return setStatus(UpdateStatus::State::UPDATING, IN_PROGRESS);
  bool pauses = policy.getFailureAction() != schema::UpdateConfig::FailureAction::CONTINUE;
  if (pauses && now.failed > policy.getMaxFailureRatio() * now.occupied) {
    return giveUp();
  }
  if (!now.outdated.empty()) return chooseSlots();
  if (now.inFlight > 0) return;
  int64_t monitorNs = static_cast<int64_t>(policy.getMonitorMs()) * NS_PER_MS;
  if (now.lastAtNs != 0 && view.now() < now.lastAtNs + monitorNs) {
    return view.wakeAt(serviceId, now.lastAtNs + monitorNs);
  }
  complete();
}

// What is replaced before that is back where it should be could not start again. The way back waits
// for nobody.
bool Updater::waitsForOthers() {
  if (service.getUpdate().getState() != UpdateStatus::State::UPDATING) return false;
  auto waits = unmetDependency(view, service);
  auto message = waits.empty() ? IN_PROGRESS : IN_PROGRESS + ": it " + waits;
  if (message != text(service.getUpdate().getMessage())) {
    view.editService(serviceId, [&](schema::Service::Builder changed) {
      changed.getUpdate().setMessage(message.c_str());
    });
  }
  return !waits.empty();
}

void Updater::chooseSlots() {
  if (waitsForOthers()) return;
  allowed = now.outdated.size();
  if (policy.getParallelism() > 0) {
    size_t free = now.busy >= policy.getParallelism() ? 0 : policy.getParallelism() - now.busy;
    allowed = std::min(allowed, free);
  }
  step.unfinished = allowed > MAX_CHANGED_PER_PASS;
  allowed = std::min<size_t>(allowed, MAX_CHANGED_PER_PASS);
  step.changed = step.again = allowed > 0;
}

void Updater::setStatus(UpdateStatus::State state, const std::string& message) {
  step.changed = step.again = true;
  view.editService(serviceId, [&](schema::Service::Builder changed) {
    auto status = changed.getUpdate();
    status.setState(state);
    status.setMessage(message.c_str());
    if (state == UpdateStatus::State::UPDATING) {
      status.setStartedAtNs(view.now());
      status.setCompletedAtNs(0);
    }
    bool over =
        state == UpdateStatus::State::COMPLETED || state == UpdateStatus::State::ROLLBACK_COMPLETED;
    if (over) status.setCompletedAtNs(view.now());
  });
}

// More of it failed than its policy allows.
void Updater::giveUp() {
  using Action = schema::UpdateConfig::FailureAction;
  if (service.getUpdate().getState() == UpdateStatus::State::ROLLBACK_STARTED) {
    return setStatus(UpdateStatus::State::ROLLBACK_PAUSED, "rollback paused: " + now.failure);
  }
  std::string notBack;
  if (policy.getFailureAction() == Action::ROLLBACK && service.hasPreviousSpec()) {
    auto back = attemptNow([&] {
      rollBack(view, std::string(serviceId), service.getPreviousSpec(),
               "rolled back, since the update failed: " + now.failure,
               "update failed: " + now.failure);
    });
    step.changed = step.again = back.ok();
    if (back.ok()) return;
    notBack = "; it cannot be rolled back: " + text(plainText(back.error()));
  }
  setStatus(UpdateStatus::State::PAUSED, "update paused: " + now.failure + notBack);
}

void Updater::complete() {
  auto status = service.getUpdate();
  if (status.getState() == UpdateStatus::State::ROLLBACK_STARTED) {
    setStatus(UpdateStatus::State::ROLLBACK_COMPLETED, text(status.getMessage()));
  } else {
    setStatus(UpdateStatus::State::COMPLETED, "update completed");
  }
}

class Retirer final : public Reconciler {
 public:
  Retirer(View& view, schema::Service::Reader service) : view(view), current(service) {}
  void look(const Slot& slot) override {
    bool newerRuns = false;
    for (auto task = slot.tasks.rbegin(); task != slot.tasks.rend(); ++task) {
      if (newerRuns && isWanted(*task)) {
        setDesired(view, *task, TaskState::SHUTDOWN);
        step.changed = true;
      }
      newerRuns |= isRunning(*task) || (endedWell(*task) && current.matches(*task));
    }
  }
  Step result() const override { return step; }

 private:
  View& view;
  CurrentSpec current;
  Step step;
};

class OvertakenDropper final : public Reconciler {
 public:
  OvertakenDropper(View& view, schema::Service::Reader service) : view(view), current(service) {}
  void look(const Slot& slot) override {
    if (slot.tasks.size() < 2) return;
    size_t kept = slot.tasks.size();
    for (size_t i = 0; i < slot.tasks.size(); ++i) {
      if (isRunning(slot.tasks[i]) && !isOutdated(view, current, slot.tasks[i])) kept = i;
    }
    for (size_t i = kept + 1; i < slot.tasks.size(); ++i) {
      if (!isWanted(slot.tasks[i]) || !isOutdated(view, current, slot.tasks[i])) continue;
      setDesired(view, slot.tasks[i], TaskState::SHUTDOWN);
      step.changed = true;
    }
  }
  Step result() const override { return step; }

 private:
  View& view;
  CurrentSpec current;
  Step step;
};

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
  if (!hasTerms(spec.getPlacement())) return false;
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId())))
    return !mayMeetTerms(view, *node, spec);
  return false;
}

bool settledMayBeOutdated(const View& view, schema::Service::Reader service, const Slots& slots) {
  if (!slots.settledAreOf(service.getSpecVersion())) return true;
  auto spec = service.getSpec().getTask();
  if (slots.settled() == 0 || !hasTerms(spec.getPlacement())) return false;
  auto terms = termsOfNodes(view, spec);
  if (terms.empty()) return false;
  return view.anyWanted(manager::view(service.getMeta().getId()),
                        [&](uint32_t node) { return !mayMeet(view, node, terms); });
}

kj::Own<Reconciler> retireReplaced(View& view, schema::Service::Reader service) {
  return kj::heap<Retirer>(view, service);
}

kj::Own<Reconciler> dropOvertaken(View& view, schema::Service::Reader service) {
  return kj::heap<OvertakenDropper>(view, service);
}

kj::Own<Reconciler> advanceUpdate(View& view, schema::Service::Reader service) {
  return kj::heap<Updater>(view, service);
}

}  // namespace orch::control::manager
