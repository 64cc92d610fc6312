// Services that wait for others, with their first tasks and with their updates.
#include "decide/dependencies.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using When = schema::Dependency::Condition;
using Needs = std::vector<std::pair<const char*, When>>;

Spec dependent(const char* name, Needs needs, const char* image = "web:1", uint32_t replicas = 1) {
  Spec spec{name, replicas, image, {}};
  spec.more = [needs](schema::ServiceSpec::Builder builder) {
    builder.initUpdate().setMonitorMs(1000);
    auto list = builder.initDependsOn(needs.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setService(needs[i].first);
      list[i].setCondition(needs[i].second);
    }
  };
  return spec;
}

struct DependentCluster : TestCluster {
  DependentCluster() {
    start();
    node = &addNode();
    // What is slow does not get beyond STARTING by itself.
    node->onStart = [this](auto&, auto& seen) {
      return slow.count(seen.serviceName) > 0 ? TaskState::STARTING : TaskState::RUNNING;
    };
    node->open();
    settle();
  }
  // All tasks of the service that are being started run.
  void finish(const std::string& name) {
    slow.erase(name);
    for (auto& [id, seen] : node->tasks) {
      if (seen.serviceName == name && seen.state == TaskState::STARTING) {
        node->report(id, TaskState::RUNNING);
      }
    }
    settle();
  }
  std::string error(const std::string& name) {
    auto answer = tasks(name);
    return answer.getTasks()[0].getStatus().getError().cStr();
  }
  std::string updateMessage(const std::string& name) {
    return service(name).getService().getUpdate().getMessage().cStr();
  }
  std::string image(const std::string& name) {
    std::string images;
    for (auto& entry : node->tasks) {
      auto& seen = entry.second;
      if (seen.serviceName == name && seen.state == TaskState::RUNNING) images += seen.image;
    }
    return images;
  }
  std::vector<std::string> removeWithWarnings(const std::string& name) {
    auto request = control.removeServiceRequest();
    request.setRequestId("remove-" + name);
    request.setId(name.c_str());
    auto answer = request.send().wait(world.waitScope());
    std::vector<std::string> warnings;
    for (auto warning : answer.getWarnings()) warnings.push_back(warning.cStr());
    settle();
    return warnings;
  }
  ScriptedNode* node;
  std::set<std::string> slow;
};

TEST_CASE("dependencies: a service waits, says for what, and starts by itself", "[manager]") {
  DependentCluster cluster;
  cluster.slow = {"db"};
  cluster.create({"db", 2});
  cluster.create(dependent("web", {{"db", When::HEALTHY}}, "web:1", 2));
  cluster.settle();
  CHECK(cluster.states("web") == "pending pending");
  CHECK(cluster.error("web") == "waits for service 'db' to be healthy");
  CHECK(cluster.progress("web").getProgress().getProblem() ==
        "task web.2: waits for service 'db' to be healthy");
  cluster.finish("db");
  CHECK(cluster.states("web") == "running running");
  CHECK(cluster.error("web") == "");
}

TEST_CASE("dependencies: one that is not there yet is waited for", "[manager]") {
  DependentCluster cluster;
  cluster.create(dependent("web", {{"db", When::STARTED}}));
  cluster.settle();
  CHECK(cluster.error("web") == "waits for service 'db', which does not exist");
  cluster.create({"db", 1});
  cluster.settle();
  CHECK(cluster.states("web") == "running");
}

TEST_CASE("dependencies: what has run is not stopped, and comes back without them", "[manager]") {
  DependentCluster cluster;
  cluster.create({"db", 1});
  cluster.create(dependent("web", {{"db", When::HEALTHY}}));
  cluster.settle();
  REQUIRE(cluster.states("web") == "running");
  cluster.slow = {"db"};
  for (auto& [id, seen] : std::map(cluster.node->tasks)) {
    if (seen.serviceName == "db") cluster.node->report(id, TaskState::FAILED);
  }
  cluster.advance(1 * kj::SECONDS);
  CHECK(cluster.states("db") == "starting");
  CHECK(cluster.states("web") == "running");
  for (auto& [id, seen] : std::map(cluster.node->tasks)) {
    if (seen.serviceName == "web") cluster.node->report(id, TaskState::FAILED);
  }
  cluster.advance(1 * kj::SECONDS);
  CHECK(cluster.states("web") == "running");
  // A new slot is a first start.
  cluster.scale("web", 2);
  cluster.settle();
  CHECK(cluster.states("web") == "running pending");
  cluster.finish("db");
  CHECK(cluster.states("web") == "running running");
}

TEST_CASE("dependencies: an update of both begins with the one that is depended on", "[manager]") {
  DependentCluster cluster;
  cluster.create({"db", 1, "db:1"});
  cluster.create(dependent("web", {{"db", When::STARTED}}));
  cluster.settle();
  cluster.slow = {"db"};
  cluster.update({"db", 1, "db:2"});
  cluster.settle();
  cluster.update(dependent("web", {{"db", When::STARTED}}, "web:2"));
  cluster.settle();
  CHECK(cluster.image("web") == "web:1");
  CHECK(cluster.updateMessage("web") ==
        "update in progress: it waits for service 'db' to be started: it is being updated");
  cluster.finish("db");
  cluster.advance(20 * kj::SECONDS);
  CHECK(cluster.image("db") == "db:2");
  CHECK(cluster.image("web") == "web:2");
  CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
}

TEST_CASE("dependencies: a chain starts in its order", "[manager]") {
  DependentCluster cluster;
  cluster.slow = {"a", "b", "c"};
  cluster.create(dependent("c", {{"b", When::STARTED}}));
  cluster.create(dependent("b", {{"a", When::STARTED}}));
  cluster.create({"a", 1});
  cluster.settle();
  CHECK(cluster.states("a") + cluster.states("b") + cluster.states("c") ==
        "startingpendingpending");
  cluster.finish("a");
  CHECK(cluster.states("b") + cluster.states("c") == "startingpending");
  cluster.finish("b");
  CHECK(cluster.states("c") == "starting");
}

TEST_CASE("dependencies: of a task that completes its end is waited for", "[manager]") {
  auto once = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initRestart().setCondition(schema::RestartPolicy::Condition::ON_FAILURE);
  };
  DependentCluster cluster;
  Spec migrate{"migrate", 1, "migrate:1", once};
  cluster.create(migrate);
  cluster.create(dependent("web", {{"migrate", When::COMPLETED}}));
  cluster.settle();
  CHECK(cluster.error("web") == "waits for service 'migrate' to complete");
  for (auto& [id, seen] : std::map(cluster.node->tasks)) {
    if (seen.serviceName == "migrate") cluster.node->report(id, TaskState::COMPLETE);
  }
  cluster.settle();
  CHECK(cluster.states("web") == "running");
}

// By the state that a job's manager writes, made by hand.
struct JobState {
  explicit JobState(When condition) : view(state, 1'000'000'000, Seed{1, 2, 3, 4}) {
    job = view.create<schema::Service>(Kind::SERVICE, [](schema::Service::Builder service) {
      service.initSpec().setName("migrate");
      service.getSpec().getMode().initReplicatedJob();
    });
    web = view.create<schema::Service>(Kind::SERVICE, [&](schema::Service::Builder service) {
      service.initSpec().setName("web");
      auto needs = service.getSpec().initDependsOn(1)[0];
      needs.setService("migrate");
      needs.setCondition(condition);
    });
  }
  // `message`: why the run ended before all were completed.
  void run(uint64_t iteration, int64_t endedAtNs, const char* message = "") {
    view.editService(job, [&](schema::Service::Builder service) {
      auto status = service.initJob();
      status.setIteration(iteration);
      status.setEndedAtNs(endedAtNs);
      if (endedAtNs == 0) return;
      auto past = status.initPast(1)[0];
      past.setIteration(iteration);
      past.setMessage(message);
    });
  }
  std::string lack() { return unmetDependency(view, web); }
  State state;
  View view;
  std::string job;
  std::string web;
};

TEST_CASE("dependencies: of a job the newest run has to have ended well", "[manager]") {
  JobState jobs(When::COMPLETED);
  CHECK(jobs.lack() == "waits for service 'migrate' to complete");
  jobs.run(1, 0);
  CHECK(jobs.lack() == "waits for service 'migrate' to complete");
  jobs.run(1, 5, "too many tasks failed");
  CHECK(jobs.lack() ==
        "waits for service 'migrate' to complete: its last run did not (too many tasks failed)");
  jobs.run(2, 0);
  CHECK(jobs.lack() == "waits for service 'migrate' to complete");
  jobs.run(2, 9);
  CHECK(jobs.lack() == "");
}

TEST_CASE("dependencies: a job that has run at all has been started", "[manager]") {
  JobState jobs(When::STARTED);
  CHECK(jobs.lack() == "waits for service 'migrate' to be started");
  jobs.run(1, 5, "too many tasks failed");
  CHECK(jobs.lack() == "");
}

TEST_CASE("dependencies: what cannot be is refused, and a cycle is shown", "[manager]") {
  DependentCluster cluster;
  cluster.create(dependent("a", {{"b", When::STARTED}}));
  cluster.create(dependent("b", {{"c", When::STARTED}}));
  CHECK(cluster.createError(dependent("c", {{"a", When::STARTED}})) ==
        "usage: --depends-on makes a cycle, in which nobody would begin: c → a → b → c");
  CHECK(cluster.createError(dependent("d", {{"d", When::STARTED}})) ==
        "usage: --depends-on makes a cycle, in which nobody would begin: d → d");
  CHECK(cluster.createError(dependent("d", {{"a", When::STARTED}, {"a", When::HEALTHY}})) ==
        "usage: --depends-on 'a' is given twice");
  CHECK(cluster.createError(dependent("d", {{"a", When::COMPLETED}})) ==
        "usage: service 'a' of --depends-on never completes: it is no job, and its "
        "--restart-condition is any; use a:started or a:healthy");
}

TEST_CASE("dependencies: a way back that makes a cycle is refused", "[manager]") {
  DependentCluster cluster;
  cluster.create(dependent("a", {{"b", When::STARTED}}));
  cluster.update(dependent("a", {}));
  cluster.create(dependent("b", {{"a", When::STARTED}}));
  cluster.settle();  // no report may be under way when the world ends
  auto request = cluster.control.rollbackServiceRequest();
  request.setRequestId("back");
  request.setId("a");
  auto outcome = attemptNow([&] { request.send().wait(cluster.world.waitScope()); });
  REQUIRE(!outcome.ok());
  CHECK_THAT(outcome.message().cStr(), Catch::Contains("a → b → a"));
}

TEST_CASE("dependencies: removing one that others need is told", "[manager]") {
  DependentCluster cluster;
  cluster.create({"db", 1});
  cluster.create(dependent("web", {{"db", When::STARTED}}));
  cluster.settle();
  CHECK(cluster.removeWithWarnings("db") ==
        std::vector<std::string>{"service 'db' is needed by 'web': what runs of those goes on, "
                                 "and what starts waits"});
  CHECK(cluster.states("web") == "running");
  CHECK(cluster.removeWithWarnings("web").empty());
}

TEST_CASE("dependencies: a plan shows what starts after what, and what waits", "[manager]") {
  DependentCluster cluster;
  auto request = cluster.control.planRequest();
  auto changes = request.initChanges(2);
  auto fill = [](schema::ServiceSpec::Builder spec, const char* name) {
    spec.setName(name);
    spec.getMode().initReplicated().setReplicas(1);
    spec.initTask().initContainer().setImage("x:1");
  };
  fill(changes[0].initCreate(), "web");
  auto needs = changes[0].getCreate().initDependsOn(1)[0];
  needs.setService("db");
  fill(changes[1].initCreate(), "db");
  auto answer = request.send().wait(cluster.world.waitScope());
  auto steps = answer.getPlan().getSteps();
  REQUIRE(steps.size() == 2);
  CHECK(steps[0].getService() == "db");
  CHECK(steps[1].getService() == "web");
  std::string warnings;
  for (auto warning : answer.getPlan().getWarnings()) warnings += warning.cStr();
  CHECK_THAT(warnings, Catch::Contains("there is no service 'db' of --depends-on yet"));

  auto alone = cluster.control.planRequest();
  auto only = alone.initChanges(1);
  fill(only[0].initCreate(), "web");
  only[0].getCreate().initDependsOn(1)[0].setService("db");
  auto waits = alone.send().wait(cluster.world.waitScope());
  REQUIRE(waits.getPlan().getSteps().size() == 1);
  CHECK(waits.getPlan().getSteps()[0].getReason() ==
        "waits for service 'db', which does not exist");
}

}  // namespace
}  // namespace orch::control::manager
