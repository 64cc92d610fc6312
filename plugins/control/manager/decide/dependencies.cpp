#include "decide/dependencies.h"

#include <algorithm>

#include "decide/mode.h"
#include "decide/spec-change.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

using Condition = schema::Dependency::Condition;
using schema::TaskState;
constexpr size_t MOST_IN_A_ROW = 100;

// Whether its program has been started, though it may not be healthy yet.
bool hasBegun(const TaskReader& task) {
  return isRunning(task) ||
         (isWanted(task) && task.getStatus().getState() == TaskState::STARTING &&
          task.getStatus().getContainer().getHealth() == schema::Health::STARTING);
}

// How many of its slots are as the condition wants them.
uint32_t slotsThatMeet(const View& view, std::string_view serviceId, Condition condition) {
  uint32_t count = 0;
  for (auto& slot : view.slots(serviceId)) {
    bool met = hasCompleted(view, slot);
    for (auto& task : slot.tasks) {
      if (isStopped(view, task)) continue;
      met |= condition != Condition::COMPLETED && isRunning(task);
      met |= condition == Condition::STARTED && hasBegun(task);
    }
    count += met;
  }
  return count;
}

std::string conditionText(Condition condition) {
  return condition == Condition::STARTED   ? "to be started"
         : condition == Condition::HEALTHY ? "to be healthy"
                                           : "to complete";
}

// Of a job, what is missing; empty: nothing.
std::string lackOfJob(const View& view, schema::Service::Reader service, Condition condition) {
  auto job = service.getJob();
  auto wanted = conditionText(condition);
  if (condition != Condition::COMPLETED) {
    bool ran = job.getEndedAtNs() != 0 || job.getPast().size() > 0;
    return ran || view.running(manager::view(service.getMeta().getId())) > 0 ? "" : wanted;
  }
  if (job.getEndedAtNs() == 0) return wanted;
  for (auto run : job.getPast()) {
    if (run.getIteration() != job.getIteration() || run.getMessage().size() == 0) continue;
    return wanted + ": its last run did not (" + text(run.getMessage()) + ")";
  }
  return {};
}

// The same of any service.
std::string lackOf(const View& view, schema::Service::Reader service, Condition condition) {
  auto mode = modeOf(service.getSpec());
  if (isJob(service.getSpec())) return lackOfJob(view, service, condition);
  auto id = manager::view(service.getMeta().getId());
  auto wanted = conditionText(condition);
  if (isUnderWay(service.getUpdate())) return wanted + ": it is being updated";
  if (mode == nullptr) return wanted;
  auto desired = mode->desired(view, service);
  bool all = condition != Condition::COMPLETED && view.running(id) >= desired;
  if (all || slotsThatMeet(view, id, condition) >= desired) return {};
  return wanted;
}

// Services by name, with the one that is about to be; null: there is none.
kj::Maybe<schema::ServiceSpec::Reader> specNamed(const View& view, std::string_view name,
                                                 schema::ServiceSpec::Reader coming) {
  if (manager::view(coming.getName()) == name) return coming;
  KJ_IF_MAYBE (service, view.service(view.serviceNamed(name))) return service->getSpec();
  return nullptr;
}

// From the last name of `path` back to its first one; true if there is a way, which is in `path`.
bool leadsBack(const View& view, schema::ServiceSpec::Reader coming, std::vector<std::string>& path,
               std::set<std::string>& seen) {
  if (path.size() > MOST_IN_A_ROW) {
    fail(kj::str("usage: --depends-on: more than ", MOST_IN_A_ROW,
                 " services would wait for each other in a row, from '", path[0].c_str(), "' on"));
  }
  auto spec = specNamed(view, path.back(), coming);
  KJ_IF_MAYBE (found, spec) {
    for (auto dependency : found->getDependsOn()) {
      auto next = text(dependency.getService());
      bool back = next == path[0];
      if (!back && !seen.insert(next).second) continue;
      path.push_back(next);
      if (back || leadsBack(view, coming, path, seen)) return true;
      path.pop_back();
    }
  }
  return false;
}

void refuseCycle(const View& view, schema::ServiceSpec::Reader spec) {
  std::vector<std::string> path = {text(spec.getName())};
  std::set<std::string> seen;
  if (!leadsBack(view, spec, path, seen)) return;
  std::string cycle;
  for (auto& name : path) cycle += (cycle.empty() ? "" : " → ") + name;
  fail(kj::str("usage: --depends-on makes a cycle, in which nobody would begin: ", cycle.c_str()));
}

// What would always wait.
void refuseEndless(schema::ServiceSpec::Reader other, Condition condition) {
  auto restart = other.getTask().getRestart().getCondition();
  bool ends = isJob(other) || restart != schema::RestartPolicy::Condition::ANY;
  if (condition != Condition::COMPLETED || ends) return;
  fail(kj::str("usage: service '", other.getName(),
               "' of --depends-on never completes: it is no "
               "job, and its --restart-condition is any; use ",
               other.getName(), ":started or ", other.getName(), ":healthy"));
}

}  // namespace

std::string unmetDependency(const View& view, schema::Service::Reader service) {
  for (auto dependency : service.getSpec().getDependsOn()) {
    auto name = text(dependency.getService());
    KJ_IF_MAYBE (other, view.service(view.serviceNamed(name))) {
      auto lack = lackOf(view, *other, dependency.getCondition());
      if (!lack.empty()) return "waits for service '" + name + "' " + lack;
    } else {
      return "waits for service '" + name + "', which does not exist";
    }
  }
  return {};
}

std::string unmetDependency(const View& view, std::string_view serviceId) {
  KJ_IF_MAYBE (service, view.service(serviceId)) return unmetDependency(view, *service);
  return {};
}

bool isFirstStart(const Slot& slot) {
  auto run = slot.tasks.back().getIteration();
  return std::none_of(slot.tasks.begin(), slot.tasks.end(), [&](auto& task) {
    return task.getIteration() == run && task.runningAtNs() != 0;
  });
}

void checkDependencies(const View& view, schema::ServiceSpec::Reader spec,
                       std::vector<std::string>& warnings) {
  std::set<std::string> seen;
  for (auto dependency : spec.getDependsOn()) {
    auto name = text(dependency.getService());
    if (!seen.insert(name).second) {
      fail(kj::str("usage: --depends-on '", name.c_str(), "' is given twice"));
    }
    auto other = specNamed(view, name, spec);
    KJ_IF_MAYBE (found, other) {
      refuseEndless(*found, dependency.getCondition());
    } else {
      warnings.push_back("there is no service '" + name +
                         "' of --depends-on yet; the tasks wait for it");
    }
  }
  refuseCycle(view, spec);
}

std::string leftBehind(const View& view, schema::Service::Reader service) {
  std::string names;
  for (auto& id : view.dependentsOf(manager::view(service.getSpec().getName()))) {
    KJ_IF_MAYBE (dependent, view.service(id)) {
      names += (names.empty() ? "'" : ", '") + text(dependent->getSpec().getName()) + "'";
    }
  }
  return names;
}

std::vector<std::string> waitingFor(const View& view, std::string_view serviceName) {
  std::vector<std::string> waiting;
  for (auto& id : view.dependentsOf(serviceName)) {
    KJ_IF_MAYBE (dependent, view.service(id)) {
      bool waits = view.unplaced(id) > 0 || isUnderWay(dependent->getUpdate());
      if (waits) waiting.push_back(id);
    }
  }
  return waiting;
}

}  // namespace orch::control::manager
