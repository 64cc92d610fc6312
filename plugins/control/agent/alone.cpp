#include "alone.h"

#include <algorithm>
#include <set>
#include <utility>

#include "agent.h"
#include "lib/restart-policy.h"

namespace orch::control::agent {

using schema::TaskState;

namespace {

// A window counts from the last one that outlived it: what came before is not known here.
uint32_t restartsAfter(schema::Task::Reader task) {
  int64_t windowNs = static_cast<int64_t>(task.getSpec().getRestart().getWindowMs()) * NS_PER_MS;
  bool outlived = windowNs > 0 && lifetimeNs(task, task.getStatus()) >= windowNs;
  return outlived ? 1 : task.getRestarts() + 1;
}

bool mayRestart(schema::Task::Reader task) {
  auto policy = task.getSpec().getRestart();
  if (!allowsRestart(policy, task.getStatus().getState())) return false;
  return policy.getMaxAttempts() == 0 || restartsAfter(task) <= policy.getMaxAttempts();
}

}  // namespace

AlonePlan planAlone(const std::map<std::string, schema::Task::Reader>& tasks, int64_t nowNs) {
  AlonePlan plan;
  std::set<std::string> replaced;
  for (auto& entry : tasks) replaced.insert(entry.second.getRestartOf().cStr());
  auto later = [&](int64_t atNs) { plan.wakeAtNs = std::min(plan.wakeAtNs, atNs); };
  for (auto& [id, task] : tasks) {
    if (task.getDesired() > TaskState::RUNNING) continue;
    bool early = task.getStartAfterNs() > nowNs;
    if (isTerminal(task.getStatus().getState())) {
      if (replaced.count(id) > 0 || !mayRestart(task)) continue;
      // One that could not even be prepared sits its own delay out before the next is made.
      if (early) {
        later(task.getStartAfterNs());
        continue;
      }
      int64_t delayNs = restartDelayNs(task, task.getSpec().getRestart(), task.getStatus());
      plan.restarts.push_back({id, delayNs == 0 ? 0 : nowNs + delayNs, restartsAfter(task)});
    } else if (task.getDesired() == TaskState::READY) {
      auto before = tasks.find(task.getRestartOf().cStr());
      bool free = before != tasks.end() && isTerminal(before->second.getStatus().getState());
      if (!free) continue;  // what has to stop first is elsewhere
      if (early) {
        later(task.getStartAfterNs());
      } else {
        plan.due.push_back(id);
      }
    }
  }
  return plan;
}

std::map<std::string, schema::Task::Reader> NodeAgent::known() {
  std::map<std::string, schema::Task::Reader> tasks;
  for (auto& entry : controllers) {
    if (leaving.count(entry.first) > 0) continue;
    tasks.emplace(entry.first, entry.second->record().task().asReader());
  }
  return tasks;
}

std::vector<TaskRecord*> NodeAgent::localRecords() {
  std::vector<TaskRecord*> records;
  for (auto& entry : controllers) {
    auto& record = entry.second->record();
    if (record.isLocal() && leaving.count(entry.first) == 0) records.push_back(&record);
  }
  std::sort(records.begin(), records.end(), [](auto a, auto b) {
    return a->task().getMeta().getCreatedAtNs() < b->task().getMeta().getCreatedAtNs();
  });
  return records;
}

void NodeAgent::beAlone() {
  if (std::exchange(isAlone, true)) return;
  alone =
      keepAlone().promise().eagerlyEvaluate([this](kj::Exception&& e) { taskFailed(kj::mv(e)); });
}

Task<void> NodeAgent::keepAlone() {
  // A manager that only starts again decides by itself what becomes of a task that ended.
  co_await env.timer().afterDelay(settings.getAloneAfterMs() * kj::MILLISECONDS);
  services.networks.goByPlan();
  for (auto& entry : controllers) entry.second->goWithout();
  for (;;) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    aloneChanged = kj::mv(pair.fulfiller);
    auto nowNs = env.nowNs();
    auto plan = planAlone(known(), nowNs);
    for (auto& next : plan.restarts) restart(next);
    for (auto& id : plan.due) {
      auto& controller = *controllers.at(id);
      controller.wish(TaskState::RUNNING);
      store.saveSoon(controller.record());
    }
    auto wake = kj::mv(pair.promise);
    if (plan.wakeAtNs != INT64_MAX) {
      auto due = env.timer().afterDelay((plan.wakeAtNs - nowNs) * kj::NANOSECONDS);
      wake = wake.exclusiveJoin(kj::mv(due));
    }
    co_await wake;
    // What happens in one turn of the loop is looked at once.
    co_await kj::evalLast([]() {});
  }
}

void NodeAgent::describeRestart(TaskRecord& local, schema::LocalRestart::Builder restart) {
  auto task = local.task();
  auto ended = restart.initEnded();
  ended.setTaskId(task.getRestartOf());
  auto before = controllers.find(task.getRestartOf().cStr());
  if (before != controllers.end()) ended.setStatus(before->second->record().status());
  auto next = restart.initNext();
  next.setTaskId(local.id());
  next.setStatus(local.status());
  restart.setRestarts(task.getRestarts());
  restart.setStartAfterNs(task.getStartAfterNs());
}

// Of a row of tasks that the node made, only the last one is kept: it follows the one that the
// managers know.
void NodeAgent::restart(const AlonePlan::Restart& next) {
  auto& ended = controllers.at(next.ended)->record();
  bool local = ended.isLocal();
  auto id = env.newId();
  auto record = kj::heap<TaskRecord>(ended.task().asReader());
  auto task = record->task();
  auto nowNs = env.nowNs();
  auto meta = task.initMeta();
  meta.setId(id);
  meta.setCreatedAtNs(nowNs);
  meta.setUpdatedAtNs(nowNs);
  auto status = task.initStatus();
  status.setState(TaskState::ASSIGNED);
  status.setAtNs(nowNs);
  if (!local) task.setRestartOf(next.ended.c_str());
  task.setStartAfterNs(next.startAfterNs);
  task.setRestarts(next.restarts);
  task.setDesired(next.startAfterNs == 0 ? TaskState::RUNNING : TaskState::READY);
  host.log().info("no manager is there: a task that ended is restarted",
                  {{"task", record->name()},
                   {"ended", next.ended.c_str()},
                   {"reason", ended.status().getError()}});
  host.publish("task.restarted", id,
               {{"service", task.getServiceName()},
                {"restartOf", next.ended.c_str()},
                {"error", ended.status().getError()}});
  auto controller = newController(kj::mv(record));
  store.saveSoon(controller->record());
  controller->goWithout();
  controller->begin();
  controllers[id.cStr()] = kj::mv(controller);
  if (local) forget(next.ended).detach([](kj::Exception&&) {});
}

}  // namespace orch::control::agent
