// For tests: the part of the recording cluster that plans.
#pragma once

#include <string>
#include <vector>

#include "recording-networks.h"

namespace orch::cli {

// Writes down what is planned, and answers that one task would start and one would wait.
class RecordingPlans : public RecordingNetworks {
 public:
  explicit RecordingPlans(std::vector<std::string>& calls)
      : RecordingNetworks(calls), planned(calls) {}

  kj::Promise<void> plan(PlanContext context) override {
    for (auto change : context.getParams().getChanges()) planned.push_back(wordsFor(change));
    auto plan = context.getResults().initPlan();
    plan.setId("p1");
    auto steps = plan.initSteps(2);
    fill(steps[0], schema::PlannedStep::Action::START, 2, "n1", "", "web:1");
    steps[0].setAtMs(10'000);
    fill(steps[1], schema::PlannedStep::Action::WAIT, 3, "", "no suitable node", "");
    auto nodes = plan.initNodes(1);
    nodes[0].setNode("n1");
    nodes[0].setTasksBefore(1);
    nodes[0].setTasks(2);
    nodes[0].setCpuNanos(4'000'000'000);
    nodes[0].setFreeCpuNanos(1'500'000'000);
    nodes[0].setMemoryBytes(1 << 30);
    nodes[0].setFreeMemoryBytes(1 << 29);
    auto services = plan.initServices(1);
    services[0].setName("web");
    services[0].setDesired(3);
    services[0].setRunning(2);
    services[0].initNeeds(1).set(0, "n1");
    plan.initWarnings(1).set(0, "nobody knows the image");
    return kj::READY_NOW;
  }
  kj::Promise<void> apply(ApplyContext context) override {
    planned.push_back(kj::str("apply ", context.getParams().getPlanId()).cStr());
    context.getResults().initPlan();
    return kj::READY_NOW;
  }
  kj::Promise<void> replay(ReplayContext context) override {
    auto params = context.getParams();
    planned.push_back(
        kj::str("replay ", params.getScheduler(), " since ", params.getSinceNs()).cStr());
    if (params.getJournal().size() > 0) {
      planned.back() += kj::str(" of ", params.getJournal().asChars()).cStr();
    }
    auto answer = context.getResults().initAnswer();
    if (params.getScheduler().size() == 0) return kj::READY_NOW;  // nothing was decided
    answer.setDecisions(1);
    answer.setFirstNs(1'700'000'000'000'000'000);
    answer.setLastNs(1'700'000'000'000'000'000);
    auto service = answer.initServices(1)[0];
    service.setService("web");
    service.setTasks(3);
    service.setSame(1);
    service.setElsewhere(1);
    service.setNowhere(1);
    auto tasks = answer.initTasks(2);
    fill(tasks[0], 2, "n2", "");
    fill(tasks[1], 3, "", "no suitable node");
    return kj::READY_NOW;
  }
  kj::Promise<void> why(WhyContext context) override {
    planned.push_back(kj::str("why ", context.getParams().getId()).cStr());
    auto answer = context.getResults().initAnswer();
    answer.setTask("web.3");
    answer.setState(schema::TaskState::PENDING);
    answer.setMessage("no suitable node");
    auto nodes = answer.initNodes(2);
    nodes[0].setNode("n1");
    auto terms = nodes[0].initTerms(1);
    terms[0].setName("tasks");
    terms[0].setValue(7);
    nodes[1].setNode("n2");
    nodes[1].initObstacles(1).set(0, "drained");
    nodes[1].initRemedies(1).set(0, "orch node update --availability active n2");
    return kj::READY_NOW;
  }

 private:
  static void fill(schema::ReplayedTask::Builder task, uint32_t slot, kj::StringPtr other,
                   kj::StringPtr reason) {
    task.setAtNs(1'700'000'000'000'000'000);
    task.setService("web");
    task.setSlot(slot);
    task.setNode("n1");
    task.setOther(other);
    task.setReason(reason);
  }
  static std::string wordsFor(schema::PlannedChange::Reader change) {
    using Change = schema::PlannedChange;
    switch (change.which()) {
      case Change::CREATE:
        return kj::str("plan create ", change.getCreate().getName()).cStr();
      case Change::UPDATE:
        return kj::str("plan update ", change.getUpdate().getId()).cStr();
      case Change::REMOVE:
        return kj::str("plan remove ", change.getRemove()).cStr();
      case Change::ROLLBACK:
        return kj::str("plan rollback ", change.getRollback()).cStr();
      case Change::ROLLBACK_TO:
        return kj::str("plan rollback ", change.getRollbackTo().getService(), " to ",
                       change.getRollbackTo().getNumber())
            .cStr();
      case Change::SCALE:
        return kj::str("plan scale ", change.getScale().getService(), "=",
                       change.getScale().getReplicas())
            .cStr();
      case Change::NODE:
        return kj::str("plan node ", change.getNode().getNode()).cStr();
      case Change::LOSE:
        return kj::str("plan lose ", change.getLose()).cStr();
      case Change::ADD:
        return kj::str("plan add ", change.getAdd().getHostname(), " ",
                       change.getAdd().getCpuNanos(), " ", change.getAdd().getMemoryBytes(), " ",
                       change.getAdd().getEngineLabels().size())
            .cStr();
    }
    return "?";
  }
  static void fill(schema::PlannedStep::Builder step, schema::PlannedStep::Action action,
                   uint32_t slot, kj::StringPtr node, kj::StringPtr reason, kj::StringPtr image) {
    step.setAction(action);
    step.setService("web");
    step.setSlot(slot);
    step.setNode(node);
    step.setReason(reason);
    step.setImage(image);
  }

  std::vector<std::string>& planned;
};

}  // namespace orch::cli
