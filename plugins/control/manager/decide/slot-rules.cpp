#include "decide/slot-rules.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr int64_t FIRST_BACKOFF_NS = 100 * NS_PER_MS;
constexpr int64_t MAX_BACKOFF_NS = 30'000 * NS_PER_MS;
constexpr int64_t FORGET_BACKOFF_NS = 60'000 * NS_PER_MS;
constexpr int64_t STOP_MARGIN_NS = 60'000 * NS_PER_MS;  // swarm mode's task timeout

bool endedByItself(TaskState state) {
  return state == TaskState::COMPLETE || state == TaskState::FAILED || state == TaskState::REJECTED;
}

// How long it ran, or was about to.
int64_t lifetimeNs(const TaskReader& task) {
  int64_t from = std::max(task.getMeta().getCreatedAtNs(), task.getStartAfterNs());
  from = std::max(from, task.runningAtNs());
  return task.endedAtNs() - from;
}
}  // namespace

SlotState stateOf(const View& view, const Slot& slot) {
  for (auto& task : slot.tasks) {
    if (isWanted(task)) return SlotState::LIVE;
  }
  if (slot.tasks.empty()) return SlotState::DEAD;
  auto newest = slot.tasks.back();
  bool done = endedByItself(newest.getStatus().getState()) && !mayRestart(view, slot, newest);
  return done ? SlotState::DONE : SlotState::DEAD;
}

bool endedWell(const TaskReader& task) {
  return task.getStatus().getState() == TaskState::COMPLETE &&
         task.getSpec().getRestart().getCondition() != schema::RestartPolicy::Condition::ANY;
}

bool hasCompleted(const View& view, const Slot& slot) {
  return stateOf(view, slot) == SlotState::DONE &&
         slot.tasks.back().getStatus().getState() == TaskState::COMPLETE;
}

bool isStopped(const View& view, const TaskReader& task) {
  if (isTerminal(task) || !isAssigned(task)) return true;
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    return isDown(*node);
  }
  return true;
}

bool mustLeave(const View& view, const TaskReader& task) {
  if (!isAssigned(task)) return false;
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    return isDown(*node) || node->getAvailability() == schema::Node::Availability::DRAIN;
  }
  return true;
}

bool othersStopped(const View& view, const Slot& slot, std::string_view exceptTaskId,
                   int64_t& wakeAtNs) {
  bool all = true;
  auto look = [&](const TaskReader& task) {
    if (isWanted(task) || isStopped(view, task)) return;
    if (manager::view(task.getMeta().getId()) == exceptTaskId) return;
    int64_t graceNs =
        static_cast<int64_t>(task.getSpec().getContainer().getStopGraceMs()) * NS_PER_MS;
    int64_t giveUpNs = task.getDesiredAtNs() + graceNs + STOP_MARGIN_NS;
    if (view.now() >= giveUpNs) return;
    wakeAtNs = std::min(wakeAtNs, giveUpNs);
    all = false;
  };
  for (auto& task : slot.tasks) look(task);
  for (auto& task : slot.leaving) look(task);
  return all;
}

bool mayRestart(const View& view, const Slot& slot, const TaskReader& task) {
  auto policy = task.getSpec().getRestart();
  switch (policy.getCondition()) {
    case schema::RestartPolicy::Condition::NONE:
      return false;
    case schema::RestartPolicy::Condition::ON_FAILURE:
      if (task.getStatus().getState() == TaskState::COMPLETE) return false;
      break;
    case schema::RestartPolicy::Condition::ANY:
      break;
  }
  if (policy.getMaxAttempts() == 0) return true;
  if (policy.getWindowMs() == 0) return task.getRestarts() < policy.getMaxAttempts();
  int64_t endNs = isTerminal(task) ? task.endedAtNs() : view.now();
  int64_t since = endNs - static_cast<int64_t>(policy.getWindowMs()) * NS_PER_MS;
  uint64_t attempts = 0;
  for (auto& other : slot.tasks) {
    attempts += other.getRestarts() > 0 && other.getSpecVersion() == task.getSpecVersion() &&
                other.getMeta().getCreatedAtNs() >= since;
  }
  return attempts < policy.getMaxAttempts();
}

int64_t restartDelayNs(const View&, const TaskReader& task) {
  int64_t delayMs = task.getSpec().getRestart().getDelayMs();
  if (delayMs >= 0) return delayMs * NS_PER_MS;
  if (task.getRestarts() == 0) return 0;
  // What this one waited, forgotten once it has run for a while.
  if (lifetimeNs(task) >= FORGET_BACKOFF_NS) return 0;
  int64_t waitedNs =
      task.getStartAfterNs() == 0 ? 0 : task.getStartAfterNs() - task.getMeta().getCreatedAtNs();
  // Creation times are some nanoseconds late where several tasks were made at once.
  waitedNs = (waitedNs + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS;
  return waitedNs <= 0 ? FIRST_BACKOFF_NS : std::min(waitedNs * 2, MAX_BACKOFF_NS);
}

std::string createTask(View& view, schema::Service::Reader service, const NewTask& wanted) {
  auto id = view.create<schema::Task>(Kind::TASK, [&](schema::Task::Builder task) {
    auto spec = service.getSpec();
    task.setServiceId(service.getMeta().getId());
    task.setServiceName(spec.getName());
    task.setSlot(wanted.slot.number);
    if (wanted.slot.number == 0) task.setNodeId(wanted.slot.node.c_str());
    task.setSpec(spec.getTask());
    task.setSpecVersion(service.getSpecVersion());
    task.setDesired(wanted.desired);
    task.setPorts(service.getPorts());
    task.setServiceLabels(spec.getLabels());
    if (!wanted.restartOf.empty()) task.setRestartOf(wanted.restartOf.c_str());
    task.setStartAfterNs(wanted.startAfterNs);
    task.setRestarts(wanted.restarts);
  });
  if (wanted.slot.number == 0) {
    view.editStatus(KJ_ASSERT_NONNULL(view.task(id)), [](schema::TaskStatus::Builder status) {
      status.setState(schema::PENDING_STATUS->getState());
      status.setMessage(schema::PENDING_STATUS->getMessage());
    });
  }
  return id;
}

void setDesired(View& view, const TaskReader& task, TaskState desired) {
  view.editTask(task, [&](schema::Task::Builder changed) {
    changed.setDesired(desired);
    if (isWanted(task)) changed.setDesiredAtNs(view.now());
  });
}

}  // namespace orch::control::manager
