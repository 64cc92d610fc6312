#include "decide/slot-rules.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr int64_t STOP_MARGIN_NS = 60'000 * NS_PER_MS;  // swarm mode's task timeout

bool endedByItself(TaskState state) {
  return state == TaskState::COMPLETE || state == TaskState::FAILED || state == TaskState::REJECTED;
}
}  // namespace

bool isOfPastRun(const View& view, const TaskReader& task) {
  if (task.getIteration() == 0) return false;
  KJ_IF_MAYBE (service, view.service(manager::view(task.getServiceId()))) {
    return service->getJob().getIteration() != task.getIteration();
  }
  return false;
}

bool completesRun(const View& view, const TaskReader& task) {
  return task.getIteration() > 0 && task.getStatus().getState() == TaskState::COMPLETE &&
         !isOfPastRun(view, task);
}

SlotState stateOf(const View& view, const Slot& slot) {
  if (slot.tasks.empty()) return SlotState::DEAD;
  auto newest = slot.tasks.back();
  if (newest.getIteration() > 0) {
    if (isOfPastRun(view, newest)) return SlotState::DEAD;
    // One that was replaced when its node was lost may have completed there.
    if (hasCompleted(view, slot)) return SlotState::DONE;
  }
  for (auto& task : slot.tasks) {
    if (isWanted(task)) return SlotState::LIVE;
  }
  bool done = endedByItself(newest.getStatus().getState()) && !mayRestart(view, slot, newest);
  return done ? SlotState::DONE : SlotState::DEAD;
}

bool endedWell(const TaskReader& task) {
  return task.getStatus().getState() == TaskState::COMPLETE &&
         task.getSpec().getRestart().getCondition() != schema::RestartPolicy::Condition::ANY;
}

bool hasCompleted(const View& view, const Slot& slot) {
  if (slot.tasks.back().getIteration() > 0) {
    return std::any_of(slot.tasks.begin(), slot.tasks.end(),
                       [&](auto& task) { return completesRun(view, task); });
  }
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

bool isOnDrained(const View& view, const TaskReader& task) {
  if (!isAssigned(task)) return false;
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    return node->getAvailability() == schema::Node::Availability::DRAIN && !isDown(*node);
  }
  return false;
}

bool mustLeave(const View& view, schema::Service::Reader service, const TaskReader& task,
               int64_t& wakeAtNs) {
  if (!isAssigned(task)) return false;
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    bool drained = node->getAvailability() == schema::Node::Availability::DRAIN;
    if (!isDown(*node)) return drained && !isRunning(task);  // else: drainer.h
    if (drained || hasLeft(*node)) return true;
    int64_t tolerateMs = service.getSpec().getTask().getPlacement().getTolerateDownMs();
    int64_t untilNs = node->getDownSinceNs() + tolerateMs * NS_PER_MS;
    if (view.now() >= untilNs) return true;
    wakeAtNs = std::min(wakeAtNs, untilNs);
    return false;
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
  if (!allowsRestart(policy, task.getStatus().getState())) return false;
  if (policy.getMaxAttempts() == 0) return true;
  if (policy.getWindowMs() == 0) return task.getRestarts() < policy.getMaxAttempts();
  int64_t endNs = isTerminal(task) ? task.endedAtNs() : view.now();
  int64_t since = endNs - static_cast<int64_t>(policy.getWindowMs()) * NS_PER_MS;
  uint64_t attempts = 0;
  for (auto& other : slot.tasks) {
    attempts += other.getRestarts() > 0 && other.getSpecVersion() == task.getSpecVersion() &&
                other.getIteration() == task.getIteration() &&
                other.getMeta().getCreatedAtNs() >= since;
  }
  return attempts < policy.getMaxAttempts();
}

bool hasNewerWanted(const Slot& slot, size_t index) {
  return std::any_of(slot.tasks.begin() + index + 1, slot.tasks.end(),
                     [](auto& task) { return isWanted(task); });
}

std::string createTask(View& view, schema::Service::Reader service, const NewTask& wanted) {
  auto& node = wanted.slot.number == 0 ? wanted.slot.node : wanted.node;
  auto id = view.create<schema::Task>(Kind::TASK, [&](schema::Task::Builder task) {
    auto spec = service.getSpec();
    task.setServiceId(service.getMeta().getId());
    task.setServiceName(spec.getName());
    task.setSlot(wanted.slot.number);
    task.setNodeId(node.c_str());
    task.setSpec(spec.getTask());
    task.setSpecVersion(service.getSpecVersion());
    task.setDesired(wanted.desired);
    task.setPorts(service.getPorts());
    task.setServiceLabels(spec.getLabels());
    if (!wanted.restartOf.empty()) task.setRestartOf(wanted.restartOf.c_str());
    task.setStartAfterNs(wanted.startAfterNs);
    task.setRestarts(wanted.restarts);
    task.setIteration(service.getJob().getIteration());
  });
  if (!node.empty()) {
    view.editStatus(KJ_ASSERT_NONNULL(view.task(id)), [&](schema::TaskStatus::Builder status) {
      status.setState(schema::PENDING_STATUS->getState());
      status.setMessage(schema::PENDING_STATUS->getMessage());
      if (!wanted.why.empty()) status.setMessage(wanted.why.c_str());
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

std::string onlyOneOf(schema::ServiceSpec::Reader spec) {
  // With several replicas another node may have what it needs.
  if (replicasOf(spec).orDefault(1) > 1) return {};
  for (auto mount : spec.getTask().getContainer().getMounts()) {
    bool shared = mount.getType() == schema::Mount::Type::VOLUME && mount.getSource().size() > 0 &&
                  !mount.getReadOnly();
    if (shared) return "volume '" + text(mount.getSource()) + "'";
  }
  for (auto port : spec.getEndpoint().getPorts()) {
    bool host = port.getMode() == schema::PortSpec::PublishMode::HOST && port.getPublished() > 0;
    if (host) return "port " + std::to_string(port.getPublished()) + " of its node";
  }
  return {};
}

void replaceSlot(View& view, schema::Service::Reader service, const Slot& slot) {
  auto spec = service.getSpec();
  bool startFirst = spec.getUpdate().getOrder() == schema::UpdateConfig::Order::START_FIRST &&
                    onlyOneOf(spec).empty();
  bool keepsOne = false;
  bool stopped = true;
  for (auto task = slot.tasks.rbegin(); task != slot.tasks.rend(); ++task) {
    if (isWanted(*task)) {
      if (startFirst && !keepsOne && isRunning(*task)) {
        keepsOne = true;
        continue;
      }
      setDesired(view, *task, TaskState::SHUTDOWN);
    }
    stopped &= isStopped(view, *task);
  }
  for (auto& task : slot.leaving) stopped &= isStopped(view, task);
  NewTask next;
  next.slot = slot.key;
  next.restartOf = text(slot.tasks.back().getMeta().getId());
  next.desired = stopped || keepsOne ? TaskState::RUNNING : TaskState::READY;
  createTask(view, service, next);
}

}  // namespace orch::control::manager
