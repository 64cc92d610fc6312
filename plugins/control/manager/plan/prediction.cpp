#include "plan/prediction.h"

#include <algorithm>

#include "decide/dependencies.h"
#include "decide/reconcile.h"
#include "decide/slot-rules.h"
#include "orch/env.h"
#include "schedule/assigning.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
using Action = schema::PlannedStep::Action;

constexpr int64_t TURN_NS = 5 * NS_PER_MS;  // before the loop turns
constexpr uint64_t MOST_LOOKS = 5'000'000;  // at nodes
constexpr int MOST_WAITS = 100;             // one after another without anything happening

// What its agent makes of a task. Those of a job do what they are for, and end.
TaskState obeyed(const TaskReader& task) {
  auto desired = task.getDesired();
  bool ends = task.getIteration() > 0 && desired == TaskState::RUNNING;
  if (ends && task.getStatus().getState() == TaskState::RUNNING) return TaskState::COMPLETE;
  return desired <= TaskState::RUNNING ? desired : TaskState::SHUTDOWN;
}

// When tasks are moved next, if that is under way; else never.
int64_t goesOnAtNs(const View& view) {
  KJ_IF_MAYBE (cluster, view.cluster()) {
    int64_t nextNs = cluster->getRebalancedAtNs() +
                     static_cast<int64_t>(cluster->getRebalanceEveryMs()) * NS_PER_MS;
    bool goesOn = cluster->getRebalanceMax() > 0 && nextNs >= view.now();
    if (goesOn) return nextNs;
  }
  return NEVER_NS;
}
}  // namespace

Prediction::Prediction(Env& env, Config::Reader settings, Scheduling& scheduling, View& view)
    : env(env),
      settings(settings),
      scheduling(scheduling),
      view(view),
      beganNs(view.now()),
      dirty(view.takeTouched()),
      rebalanceAtNs(goesOnAtNs(view)) {
  auto node = view.changes().lower_bound(Key{Kind::NODE, {}});
  freed = node != view.changes().end() && node->first.kind == Kind::NODE;
  if (!freed) return;
  rebalanceAtNs = view.now();
  for (auto& entry : view.base().services().global) dirty.insert(entry.first);
}

Task<void> Prediction::run() {
  for (int waits = 0; waits < MOST_WAITS && !unfinished;) {
    co_await decide();
    if (dirty.empty() && rebalanceAtNs <= view.now()) co_await rebalance();
    if (!dirty.empty()) continue;
    if (act()) {
      waits = 0;
      continue;
    }
    if (!wait()) break;
    ++waits;
  }
  noteWaiting();
}

Task<void> Prediction::decide() {
  if (std::exchange(freed, false)) lookAtWaiting();
  while (!dirty.empty() && !unfinished) {
    auto id = *dirty.begin();
    dirty.erase(dirty.begin());
    involved.insert(id);
    co_await reconcile(id);
    unfinished |= view.looked() > MOST_LOOKS || taken.size() > MAX_STEPS;
  }
}

Task<int64_t> Prediction::workOff(DirtyKey key) {
  if (key.concern == Concern::SERVICE) co_await scheduling.judgeFor(view, key.id);
  for (;;) {
    Reconciliation work(view, settings, key);
    int64_t untilNs = env.nowNs() + TURN_NS;
    while (work.step()) {
      if (env.nowNs() <= untilNs) continue;
      co_await env.timer().afterDelay(0 * kj::NANOSECONDS);
      untilNs = env.nowNs() + TURN_NS;
    }
    if (!view.base().verdicts().open()) co_return work.againNs();
    bool answered = co_await scheduling.filters().answer(view.base());
    if (!answered) co_return std::min(work.againNs(), view.now() + ASK_AGAIN_NS);
  }
}

Task<void> Prediction::reconcile(std::string serviceId) {
  DirtyKey key{Concern::SERVICE, serviceId};
  auto againNs = co_await workOff(key);
  if (againNs <= view.now()) dirty.insert(serviceId);
  KJ_IF_MAYBE (service, view.service(serviceId)) lookAtDependents(service->getSpec().getName());
  if (view.unplaced(serviceId) > 0) {
    auto waiting = view.unplaced(serviceId);
    bool more = co_await scheduling.place(view, serviceId);
    if (more) dirty.insert(serviceId);
    if (view.unplaced(serviceId) < waiting) dirty.merge(scheduling.takeLonely());
  }
  view.takeTouched();
}

Task<void> Prediction::rebalance() {
  DirtyKey key{Concern::REBALANCE, {}};
  rebalanceAtNs = co_await workOff(key);
  dirty.merge(view.takeTouched());
}

void Prediction::lookAtDependents(capnp::Text::Reader serviceName) {
  for (auto& id : waitingFor(view, manager::view(serviceName))) dirty.insert(id);
}

void Prediction::lookAtWaiting() {
  for (auto& entry : view.base().usage().allServices()) {
    if (view.unplaced(entry.first) > 0) dirty.insert(entry.first);
  }
  for (auto& id : involved) {
    if (view.unplaced(id) > 0) dirty.insert(id);
  }
}

bool Prediction::act() {
  bool any = false;
  for (auto& id : involved) {
    std::vector<TaskReader> tasks;
    if (seen.insert(id).second) {
      auto slots = view.slots(id);
      for (auto& slot : slots) tasks.insert(tasks.end(), slot.tasks.begin(), slot.tasks.end());
      for (auto& task : slots.leaving()) tasks.push_back(task);
    } else if (auto changed = view.changedTasksOf(id)) {
      for (auto& taskId : *changed) {
        KJ_IF_MAYBE (task, view.task(taskId)) tasks.push_back(*task);
      }
    }
    std::stable_sort(tasks.begin(), tasks.end(),
                     [](auto& a, auto& b) { return a.slot() < b.slot(); });
    for (auto& task : tasks) any |= actOn(task);
  }
  return any;
}

bool Prediction::actOn(const TaskReader& task) {
  if (!isAssigned(task) || isTerminal(task)) return false;
  auto before = task.getStatus().getState();
  auto after = obeyed(task);
  if (before >= after) return false;
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    if (view.stateOf(*node) != schema::Node::State::READY) return false;
  } else {
    return false;
  }
  view.editStatus(task, [&](schema::TaskStatus::Builder status) {
    status.setState(after);
    status.setAtNs(view.now());
    if (after == TaskState::RUNNING) status.setRunningAtNs(view.now());
    if (isTerminal(after)) status.setEndedAtNs(view.now());
  });
  dirty.insert(text(task.getServiceId()));
  lookAtDependents(task.getServiceName());
  freed |= isTerminal(after);
  if (after == TaskState::RUNNING) note(Action::START, task);
  bool stopped = isTerminal(after) && after != TaskState::COMPLETE;
  if (stopped && before >= TaskState::STARTING) note(Action::STOP, task);
  return true;
}

bool Prediction::wait() {
  for (auto& [id, atNs] : view.takeWakeUps()) {
    // A schedule goes on for ever, and is no part of what a change does.
    KJ_IF_MAYBE (service, view.service(id)) {
      if (service->getJob().getNextAtNs() == atNs) continue;
    }
    auto it = wakes.try_emplace(id, atNs).first;
    it->second = std::min(it->second, atNs);
  }
  int64_t nextNs = NEVER_NS;
  for (auto& entry : wakes) nextNs = std::min(nextNs, entry.second);
  nextNs = std::min(nextNs, rebalanceAtNs);
  if (nextNs == NEVER_NS) return false;
  view.advance(nextNs);
  std::erase_if(wakes, [&](auto& entry) {
    if (entry.second > view.now()) return false;
    dirty.insert(entry.first);
    return true;
  });
  return true;
}

void Prediction::noteWaiting() {
  for (auto& id : involved) {
    if (view.unplaced(id) == 0) continue;
    for (auto& slot : view.slots(id)) {
      for (auto& task : slot.tasks) {
        if (!isUnplaced(task)) continue;
        if (taken.size() > MAX_STEPS) return;
        note(Action::WAIT, task, text(task.getStatus().getError()));
      }
    }
  }
}

void Prediction::note(Action action, const TaskReader& task, std::string reason) {
  PredictedStep step;
  step.action = action;
  step.service = text(task.getServiceName());
  step.slot = task.slot();
  step.nodeId = text(task.getNodeId());
  step.atNs = view.now() - beganNs;
  step.reason = std::move(reason);
  if (action == Action::START) step.image = text(task.getSpec().getContainer().getImage());
  taken.push_back(std::move(step));
}

}  // namespace orch::control::manager
