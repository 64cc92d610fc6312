// `orch plan`: what it says is what happens afterwards.
#include <catch2/catch.hpp>

#include <map>
#include <set>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using StepTexts = std::multiset<std::string>;
using Wished = std::function<void(schema::PlannedChange::Builder)>;

std::string wordOf(schema::PlannedStep::Action action) {
  using Action = schema::PlannedStep::Action;
  return action == Action::START ? "start" : action == Action::STOP ? "stop" : "wait";
}

struct PlanCluster : TestCluster {
  explicit PlanCluster(int count = 3) {
    start();
    for (int i = 1; i <= count; ++i) {
      nodes.push_back(&addNode("node" + std::to_string(i)));
      nodes.back()->open();
    }
    settle();
  }
  capnp::Response<schema::ClusterControl::PlanResults> plan(const std::vector<Wished>& changes) {
    auto request = control.planRequest();
    auto list = request.initChanges(changes.size());
    for (uint32_t i = 0; i < list.size(); ++i) changes[i](list[i]);
    return request.send().wait(world.waitScope());
  }
  std::string planError(const std::vector<Wished>& changes) {
    auto outcome = attemptNow([&] { plan(changes); });
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  std::string apply(kj::StringPtr id, kj::StringPtr requestId) {
    auto request = control.applyRequest();
    request.setRequestId(requestId);
    request.setPlanId(id);
    auto outcome = attemptNow([&] { request.send().wait(world.waitScope()); });
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  // "web.1 on host-node2" of all that run.
  StepTexts running() {
    StepTexts result;
    auto answer = control.servicesRequest().send().wait(world.waitScope());
    for (auto service : answer.getServices()) {
      auto list = tasks(service.getName().cStr());
      for (auto task : list.getTasks()) {
        if (task.getStatus().getState() != TaskState::RUNNING) continue;
        result.insert(
            kj::str(task.getServiceName(), ".", task.getSlot(), " on host-", task.getNodeId())
                .cStr());
      }
    }
    return result;
  }
  std::vector<ScriptedNode*> nodes;
};

StepTexts steps(schema::Plan::Reader plan, const std::string& action) {
  StepTexts result;
  for (auto step : plan.getSteps()) {
    if (wordOf(step.getAction()) != action) continue;
    result.insert(kj::str(step.getService(), ".", step.getSlot(), " on ", step.getNode()).cStr());
  }
  return result;
}

Wished scaleTo(const char* service, uint32_t replicas) {
  return [=](schema::PlannedChange::Builder change) {
    change.initScale().setService(service);
    change.getScale().setReplicas(replicas);
  };
}
Wished lose(const char* node) {
  return [=](schema::PlannedChange::Builder change) { change.setLose(node); };
}

StepTexts minus(StepTexts from, const StepTexts& what) {
  for (auto& one : what) {
    auto it = from.find(one);
    if (it != from.end()) from.erase(it);
  }
  return from;
}

TEST_CASE("plan: a scale-up is placed as the plan says", "[manager]") {
  PlanCluster cluster(5);
  cluster.create({"web", 3});
  cluster.create({"db", 4});
  cluster.settle();
  auto before = cluster.running();
  auto commits = cluster.store.commits();
  auto planned = cluster.plan({scaleTo("web", 11)});
  CHECK(cluster.store.commits() == commits);
  CHECK(cluster.running() == before);
  cluster.scale("web", 11);
  cluster.settle();
  auto started = minus(cluster.running(), before);
  CHECK(started.size() == 8);
  CHECK(steps(planned.getPlan(), "start") == started);
  CHECK(steps(planned.getPlan(), "stop").empty());
}

TEST_CASE("plan: a service that there is not yet is placed as the plan says", "[manager]") {
  PlanCluster cluster(4);
  cluster.create({"db", 3});
  cluster.settle();
  auto before = cluster.running();
  auto planned = cluster.plan({[](schema::PlannedChange::Builder change) {
    auto spec = change.initCreate();
    spec.setName("web");
    spec.getMode().initReplicated().setReplicas(6);
    spec.initTask().initContainer().setImage("web:1");
  }});
  cluster.create({"web", 6});
  cluster.settle();
  CHECK(steps(planned.getPlan(), "start") == minus(cluster.running(), before));
}

TEST_CASE("plan: an update is worked out to its end, step by step", "[manager]") {
  PlanCluster cluster;
  auto pace = [](schema::ServiceSpec::Builder spec) {
    spec.initUpdate().setParallelism(2);
    spec.getUpdate().setDelayMs(10'000);
  };
  cluster.create({"web", 4, "web:1", pace});
  cluster.settle();
  auto spec = cluster.service("web");
  auto planned = cluster.plan({[&](schema::PlannedChange::Builder change) {
    auto update = change.initUpdate();
    update.setId("web");
    update.setSpec(spec.getService().getSpec());
    update.getSpec().getTask().getContainer().setImage("web:2");
  }});
  auto before = cluster.running();
  CHECK(steps(planned.getPlan(), "stop") == before);
  std::map<uint64_t, int> starts;
  for (auto step : planned.getPlan().getSteps()) {
    if (wordOf(step.getAction()) == "start") ++starts[step.getAtMs()];
  }
  CHECK(starts == std::map<uint64_t, int>{{0, 2}, {10'000, 2}});
  cluster.update({"web", 4, "web:2", pace});
  cluster.advance(60 * kj::SECONDS);
  CHECK(steps(planned.getPlan(), "start") == cluster.running());
  CHECK(planned.getPlan().getServices()[0].getUpdate() == "");
}

TEST_CASE("plan: the loss of a node moves what the plan says", "[manager]") {
  PlanCluster cluster;
  cluster.create({"web", 6});
  cluster.create({"db", 2});
  cluster.settle();
  auto before = cluster.running();
  auto planned = cluster.plan({lose("node2")});
  cluster.nodes[1]->beats = false;
  cluster.nodes[1]->cut();
  cluster.advance(10 * kj::SECONDS);
  StepTexts moved;
  for (auto& task : cluster.running()) {
    if (before.count(task) == 0) moved.insert(task);
  }
  CHECK(!moved.empty());
  CHECK(steps(planned.getPlan(), "start") == moved);
}

TEST_CASE("plan: what finds no node waits, and says why", "[manager]") {
  PlanCluster cluster(2);
  auto four = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initResources().setReserveCpuNanos(4'000'000'000);
  };
  cluster.create({"web", 2, "web:1", four});
  cluster.settle();
  auto planned = cluster.plan({scaleTo("web", 5)});
  CHECK(steps(planned.getPlan(), "start").size() == 2);
  uint32_t waiting = 0;
  for (auto step : planned.getPlan().getSteps()) {
    if (wordOf(step.getAction()) != "wait") continue;
    ++waiting;
    CHECK(step.getReason() == "no suitable node (insufficient cpu on 2 nodes)");
  }
  CHECK(waiting == 1);
  auto service = planned.getPlan().getServices()[0];
  CHECK(service.getDesired() == 5);
  CHECK(service.getRunning() == 4);
  // With a third node it does not.
  auto more = cluster.plan({[](schema::PlannedChange::Builder change) {
                              auto node = change.initAdd();
                              node.setHostname("new-1");
                              node.setCpuNanos(8'000'000'000);
                              node.setMemoryBytes(1ull << 34);
                            },
                            scaleTo("web", 5)});
  CHECK(steps(more.getPlan(), "wait").empty());
  CHECK(more.getPlan().getServices()[0].getRunning() == 5);
  CHECK(more.getPlan().getNodes().size() == 3);
}

TEST_CASE("plan: says which nodes a service could not do without", "[manager]") {
  PlanCluster cluster(2);
  auto pinned = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().initConstraints(1).set(0, "node.id==node2");
  };
  cluster.create({"pinned", 1, "web:1", pinned});
  cluster.create({"web", 2});
  cluster.settle();
  auto planned = cluster.plan({scaleTo("pinned", 2), scaleTo("web", 4)});
  for (auto service : planned.getPlan().getServices()) {
    std::vector<std::string> needs;
    for (auto node : service.getNeeds()) needs.push_back(node.cStr());
    bool alone = service.getName() == "pinned";
    CHECK(needs == (alone ? std::vector<std::string>{"host-node2"} : std::vector<std::string>{}));
  }
}

TEST_CASE("plan: is applied if it still says the same, once, and refused otherwise", "[manager]") {
  PlanCluster cluster;
  cluster.create({"web", 3});
  cluster.create({"other", 1});
  cluster.settle();
  auto planned = cluster.plan({scaleTo("web", 6)});
  auto again = cluster.plan({scaleTo("web", 6)});
  CHECK(planned.getPlan().getId() == again.getPlan().getId());
  CHECK(cluster.apply(planned.getPlan().getId(), "apply-1") == "");
  CHECK(cluster.apply(planned.getPlan().getId(), "apply-1") == "");
  cluster.settle();
  CHECK(cluster.states("web") == "running running running running running running");
  // It would do nothing now.
  CHECK_THAT(cluster.apply(planned.getPlan().getId(), "apply-2"),
             Catch::StartsWith("the cluster has changed since"));
  auto next = cluster.plan({scaleTo("web", 9), scaleTo("other", 2)});
  cluster.nodes[0]->cut();
  cluster.nodes[0]->beats = false;
  cluster.advance(10 * kj::SECONDS);
  auto before = cluster.running();
  CHECK_THAT(cluster.apply(next.getPlan().getId(), "apply-3"),
             Catch::StartsWith("the cluster has changed since"));
  cluster.settle();
  CHECK(cluster.running() == before);
  CHECK_THAT(cluster.apply("0123456789abcdef", "apply-4"), Catch::StartsWith("there is no plan"));
  auto imagined = cluster.plan({lose("node2")});
  CHECK_THAT(cluster.apply(imagined.getPlan().getId(), "apply-5"),
             Catch::Contains("cannot be applied"));
}

TEST_CASE("plan: what would be refused is refused in the same words", "[manager]") {
  PlanCluster cluster(1);
  cluster.create({"web", 1});
  CHECK(cluster.planError({scaleTo("nobody", 1)}).find("nobody") != std::string::npos);
  CHECK(cluster.planError({scaleTo("web", 2'000'000)}) ==
        "usage: a service has at most 1000000 replicas, not 2000000");
  CHECK(cluster.planError({}) == "usage: a plan is of 1 to 64 changes, not 0");
  CHECK(cluster.planError({lose("node9")}).find("node9") != std::string::npos);
}

TEST_CASE("plan: why a task is where it is, and not elsewhere", "[manager]") {
  PlanCluster cluster;
  auto zone = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().initConstraints(1).set(0, "node.labels.zone==b");
    spec.getTask().initResources().setReserveMemoryBytes(20ull << 30);
  };
  cluster.create({"web", 1, "web:1", zone});
  cluster.settle();
  auto request = cluster.control.whyRequest();
  request.setId("web.1");
  auto answer = request.send().wait(cluster.world.waitScope());
  auto placing = answer.getAnswer();
  CHECK(placing.getTask() == "web.1");
  CHECK(placing.getNode() == "");
  REQUIRE(placing.getNodes().size() == 3);
  auto first = placing.getNodes()[0];
  REQUIRE(first.getObstacles().size() == 2);
  CHECK(first.getObstacles()[0] ==
        "insufficient memory: 20g wanted, 4g more than are not reserved");
  CHECK(first.getRemedies()[0] == "free 4g on host-node1");
  CHECK(first.getObstacles()[1] == "constraint node.labels.zone==b not met");
  CHECK(first.getRemedies()[1] ==
        "orch node update --label-add zone=b host-node1, or drop node.labels.zone==b");

  cluster.create({"free", 2});
  cluster.settle();
  request = cluster.control.whyRequest();
  request.setId("free");
  auto other = request.send().wait(cluster.world.waitScope());
  auto nodes = other.getAnswer().getNodes();
  REQUIRE(nodes.size() == 3);
  CHECK(nodes[0].getNode() == other.getAnswer().getNode());
  for (auto node : nodes) CHECK(node.getObstacles().size() == 0);
  CHECK(nodes[1].getTerms().size() == 3);
  CHECK(nodes[1].getTerms()[1].getName() == "tasks of the service");
  CHECK(nodes[1].getTerms()[1].getValue() <= nodes[2].getTerms()[1].getValue());
}

TEST_CASE("plan: of a job, every task that it starts until it has ended", "[manager]") {
  PlanCluster cluster(2);
  auto fill = [](schema::ServiceSpec::Builder spec, const char* schedule) {
    spec.setName("calc");
    spec.setSchedule(schedule);
    spec.getMode().initReplicatedJob().setCompletions(5);
    spec.getMode().getReplicatedJob().setMaxConcurrent(2);
    spec.initTask().initContainer().setImage("calc:1");
    spec.getTask().initRestart().setCondition(schema::RestartPolicy::Condition::ON_FAILURE);
  };
  auto once = cluster.plan({[&](auto change) { fill(change.initCreate(), ""); }});
  std::string slots;
  for (auto step : once.getPlan().getSteps()) {
    CHECK(step.getAction() == schema::PlannedStep::Action::START);
    slots += std::to_string(step.getSlot());
  }
  CHECK(slots == "12345");
  auto service = once.getPlan().getServices()[0];
  CHECK(service.getRunning() == 5);
  CHECK(service.getDesired() == 5);
  CHECK(service.getNeedsUnknown());
  // What a schedule begins is no part of what the change does.
  auto nightly = cluster.plan({[&](auto change) { fill(change.initCreate(), "0 3 1 1 *"); }});
  CHECK(nightly.getPlan().getSteps().size() == 0);
  CHECK(
      kj::StringPtr(nightly.getPlan().getServices()[0].getUpdate()).startsWith("a run begins at "));
}

}  // namespace
}  // namespace orch::control::manager
