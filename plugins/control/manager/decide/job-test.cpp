// Services whose tasks end.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "test-jobs.h"

namespace orch::control::manager {
namespace {

using schema::RestartPolicy;
using schema::TaskState;

TEST_CASE("jobs: so many tasks complete, so many at a time", "[manager]") {
  Runs runs;
  runs.create(job(5, 2));
  CHECK(runs.tasks() == "1:running 2:running");
  CHECK(runs.row() == "replicated-job 2/2 (0/5)");
  CHECK(runs.verdict() == schema::Verdict::WORKING);
  runs.end(TaskState::COMPLETE);
  CHECK(runs.tasks() == "1:complete 2:running 3:running");
  CHECK(runs.row() == "replicated-job 2/2 (1/5)");
  for (int i = 0; i < 3; ++i) runs.end(TaskState::COMPLETE);
  CHECK(runs.running() == 1);
  CHECK(runs.verdict() == schema::Verdict::WORKING);
  runs.end(TaskState::COMPLETE);
  CHECK(runs.tasks() == "1:complete 2:complete 3:complete 4:complete 5:complete");
  CHECK(runs.row() == "replicated-job 0/2 (5/5)");
  CHECK(runs.verdict() == schema::Verdict::CONVERGED);
}

TEST_CASE("jobs: a task that fails is replaced as its restart policy says", "[manager]") {
  Runs runs;
  auto attempts = [](uint64_t most) {
    return [most](schema::ServiceSpec::Builder spec) {
      spec.getTask().getRestart().setMaxAttempts(most);
    };
  };
  SECTION("and completes in its slot") {
    runs.create(job(2, 1));
    runs.end(TaskState::FAILED, 1, "task: exit (1)");
    CHECK(runs.tasks() == "1:running 1:failed");
    runs.end(TaskState::COMPLETE);
    runs.end(TaskState::COMPLETE);
    CHECK(runs.tasks() == "1:complete 1:failed 2:complete");
    CHECK(runs.past() == "1: 2+0 0s");
  }
  SECTION("until no attempt is left, while others go on") {
    runs.create(job(2, 1, attempts(1)));
    runs.end(TaskState::FAILED, 1, "task: exit (1)");
    CHECK(runs.verdict() == schema::Verdict::WORKING);
    runs.end(TaskState::FAILED, 1, "task: exit (2)");
    CHECK(runs.tasks() == "1:failed 1:failed 2:running");
    CHECK(runs.verdict() == schema::Verdict::STUCK);
    CHECK(runs.problem() == "task calc.1: task: exit (2); no attempt is left of 1");
    runs.end(TaskState::COMPLETE);
    CHECK(runs.past() == "1: 1+1 0s task calc.1: task: exit (2); no attempt is left of 1");
    CHECK(runs.verdict() == schema::Verdict::STUCK);
    CHECK(runs.row() == "replicated-job 0/1 (1/2)");
  }
  SECTION("never, if that is what it says") {
    runs.create(job(1, 0, [](schema::ServiceSpec::Builder spec) {
      spec.getTask().getRestart().setCondition(RestartPolicy::Condition::NONE);
    }));
    runs.end(TaskState::FAILED, 1, "task: exit (1)");
    CHECK(runs.tasks() == "1:failed");
    CHECK(runs.past() == "1: 0+1 0s task calc.1: task: exit (1)");
  }
}

TEST_CASE("jobs: a change makes the tasks anew, and ends those of the run before", "[manager]") {
  Runs runs;
  runs.create(job(3, 2));
  runs.end(TaskState::COMPLETE);
  CHECK(runs.tasks() == "1:complete 2:running 3:running");
  auto forced = [](uint64_t count, uint32_t completions = 3) {
    return job(completions, 2, [=](auto spec) { spec.getTask().setForceUpdate(count); });
  };
  runs.update(forced(1));
  CHECK(runs.iteration() == 2);
  CHECK(runs.tasks() == "1:running 1:complete 2:running 2:shutdown 3:shutdown");
  CHECK(runs.past() == "1: 1+0 0s the service was changed");
  runs.cluster.advance(2 * kj::SECONDS);
  runs.end(TaskState::COMPLETE, 2);
  runs.end(TaskState::COMPLETE);
  CHECK(runs.tasks() == "1:complete 1:complete 2:complete 2:shutdown 3:complete 3:shutdown");
  CHECK(runs.past() == "2: 3+0 2s; 1: 1+0 0s the service was changed");
  SECTION("of the number of tasks too") {
    runs.cluster.scale("calc", 1);
    runs.cluster.settle();
    CHECK(runs.iteration() == 3);
    runs.end(TaskState::COMPLETE);
    CHECK(runs.tasks() == "1:complete 1:complete 1:complete");
    CHECK(runs.row() == "replicated-job 0/1 (1/1)");
  }
  SECTION("of a label not") {
    runs.update(job(3, 2, [](auto spec) {
      spec.getTask().setForceUpdate(1);
      spec.initLabels(1)[0].setKey("team");
    }));
    CHECK(runs.iteration() == 2);
    CHECK(runs.verdict() == schema::Verdict::CONVERGED);
  }
  SECTION("and a slot keeps no more of its history than others") {
    for (uint64_t i = 2; i < 9; ++i) {
      runs.update(forced(i));
      runs.end(TaskState::COMPLETE, 2);
      runs.end(TaskState::COMPLETE);
    }
    CHECK(runs.cluster.tasks("calc", "").getTasks().size() == 15);
    CHECK(runs.cluster.service("calc").getService().getJob().getPast().size() == 9);
  }
}

TEST_CASE("jobs: a task that waits for the one before counts once", "[manager]") {
  Runs runs;
  runs.create(job(4, 2));
  runs.end(TaskState::COMPLETE, 2);
  for (auto& node : runs.nodes) node.second->obeysStop = false;
  runs.update(job(4, 2, [](auto spec) { spec.getTask().setForceUpdate(1); }));
  CHECK(runs.running() == 2);  // those of the first run
  CHECK(runs.tasks() == "1:complete 2:complete 3:running 4:running");
}

TEST_CASE("jobs: what a lost node has completed is not done again", "[manager]") {
  Runs runs;
  runs.create(job(4, 4));
  runs.end(TaskState::COMPLETE, 2);  // one on each node
  CHECK(runs.tasks() == "1:complete 2:complete 3:running 4:running");
  runs.cut("node1");
  CHECK(runs.nodes.at("node2")->running() == 2);
  SECTION("when it is removed") {
    auto request = runs.cluster.control.removeNodeRequest();
    request.setRequestId("remove");
    request.setId("node1");
    request.send().wait(runs.cluster.world.waitScope());
    runs.cluster.settle();
    runs.end(TaskState::COMPLETE, 2);
    CHECK(runs.past() == "1: 4+0 10s");
  }
  SECTION("by the next manager") {
    runs.restart("node2");
    CHECK(runs.row() == "replicated-job 2/4 (2/4)");
    runs.end(TaskState::COMPLETE, 2);
    CHECK(runs.iteration() == 1);
    CHECK(runs.verdict() == schema::Verdict::CONVERGED);
    runs.restart("node2");
    CHECK(runs.running() == 0);
    CHECK(runs.row() == "replicated-job 0/4 (4/4)");
  }
  SECTION("which is known only when it is back") {
    auto& node = *runs.nodes.at("node1");
    for (auto& [id, task] : node.tasks) {
      if (task.state == TaskState::RUNNING) node.report(id, TaskState::COMPLETE);
    }
    node.beats = true;
    node.open();
    runs.cluster.settle();
    CHECK(runs.running() == 1);
    runs.end(TaskState::COMPLETE);
    CHECK(runs.row() == "replicated-job 0/4 (4/4)");
    CHECK(runs.verdict() == schema::Verdict::CONVERGED);
  }
}

TEST_CASE("jobs: a drained node's tasks go elsewhere", "[manager]") {
  Runs runs;
  runs.create(job(2, 2));
  auto request = runs.cluster.control.updateNodeRequest();
  request.setRequestId("drain");
  request.setId("node1");
  request.initChange().getAvailability().setSet(schema::Node::Availability::DRAIN);
  request.send().wait(runs.cluster.world.waitScope());
  runs.cluster.settle();
  CHECK(runs.nodes.at("node2")->running() == 2);
  runs.end(TaskState::COMPLETE, 2);
  CHECK(runs.past() == "1: 2+0 0s");
}

TEST_CASE("jobs: a global one runs once on each node", "[manager]") {
  Runs runs;
  SECTION("those too that come while its run is under way") {
    runs.create(globalJob());
    CHECK(runs.tasks() == "node1:running node2:running");
    CHECK(runs.row() == "global-job 2/2 (0/2)");
    runs.end(TaskState::COMPLETE);
    runs.add("node3");
    CHECK(runs.tasks() == "node1:complete node2:running node3:running");
    CHECK(runs.row() == "global-job 2/2 (1/3)");
    runs.end(TaskState::COMPLETE, 2);
    CHECK(runs.verdict() == schema::Verdict::CONVERGED);
    runs.add("node4");
    CHECK(runs.running() == 0);
    CHECK(runs.row() == "global-job 0/0 (3/3)");
    CHECK(runs.past() == "1: 3+0 0s");
  }
  SECTION("without waiting for one that is away") {
    runs.create(globalJob());
    runs.cut("node2");
    CHECK(runs.row() == "global-job 1/1 (0/1)");
    runs.end(TaskState::COMPLETE);
    CHECK(runs.past() == "1: 1+0 10s");
  }
  SECTION("that meets the constraints") {
    runs.create(globalJob([](auto spec) {
      spec.getTask().initPlacement().initConstraints(1).set(0, "node.id==node2");
    }));
    CHECK(runs.tasks() == "node2:running");
    runs.end(TaskState::COMPLETE);
    CHECK(runs.verdict() == schema::Verdict::CONVERGED);
  }
  SECTION("and on none if none does") {
    runs.create(globalJob([](auto spec) {
      spec.getTask().initPlacement().initConstraints(1).set(0, "node.id==other");
    }));
    CHECK(runs.past() == "1: 0+0 0s no node meets its constraints");
    CHECK(runs.verdict() == schema::Verdict::CONVERGED);
    CHECK(runs.problem() == "no suitable node (constraint node.id==other not met on 2 nodes)");
  }
  SECTION("again when it is changed") {
    runs.create(globalJob());
    runs.end(TaskState::COMPLETE, 2);
    runs.update(globalJob([](auto spec) { spec.getTask().setForceUpdate(1); }));
    CHECK(runs.tasks() == "node1:running node1:complete node2:running node2:complete");
  }
}

TEST_CASE("jobs: each run waits for what the job depends on", "[manager]") {
  Runs runs;
  auto needs = [](schema::ServiceSpec::Builder spec) { spec.initDependsOn(1)[0].setService("db"); };
  runs.create({"db", 1});
  runs.create(job(1, 0, needs));
  runs.end(TaskState::COMPLETE);
  CHECK(runs.tasks() == "1:complete");
  runs.cluster.scale("db", 0);
  runs.cluster.remove("db");
  runs.cluster.settle();
  auto again = [&](schema::ServiceSpec::Builder spec) {
    needs(spec);
    spec.getTask().setForceUpdate(1);
  };
  runs.update(job(1, 0, again));
  CHECK(runs.running() == 0);
  CHECK(runs.problem() == "task calc.1: waits for service 'db', which does not exist");
  runs.create({"db", 1});
  CHECK(runs.tasks().find("1:running") != std::string::npos);
}

TEST_CASE("jobs: what they cannot have is refused", "[manager]") {
  Runs runs;
  auto refusal = [&](SpecChange more) { return runs.cluster.createError(job(1, 1, more)); };
  CHECK(refusal([](auto spec) {
          spec.getTask().getRestart().setCondition(RestartPolicy::Condition::ANY);
        }) ==
        "usage: --restart-condition any is not for jobs, whose tasks end: use on-failure or none");
  CHECK(refusal([](auto spec) { spec.initUpdate().setParallelism(2); }) ==
        "usage: --update-* and --rollback-* are not for jobs: a change makes all their tasks anew");
  CHECK(refusal([](auto spec) { spec.initRollback().setDelayMs(2); }) ==
        "usage: --update-* and --rollback-* are not for jobs: a change makes all their tasks anew");
  CHECK(refusal([](auto spec) { spec.getMode().getReplicatedJob().setCompletions(1'000'001); }) ==
        "usage: a service has at most 1000000 replicas, not 1000001");
  CHECK(runs.cluster.createError(globalJob([](auto spec) {
    spec.getTask().initPlacement().setTolerateDownMs(1);
  })) == "usage: --tolerate-down is for replicated services: the task of a global one stays with "
         "its node");
  // What says the same as nothing is nothing.
  CHECK(refusal([](auto spec) { spec.initUpdate().setParallelism(1); }) == "");
  runs.create(globalJob([](auto spec) { spec.setName("each"); }));
  auto request = runs.cluster.control.scaleServiceRequest();
  request.setRequestId("scale");
  request.setId("each");
  request.setReplicas(2);
  auto outcome = attempt(request.send()).promise().wait(runs.cluster.world.waitScope());
  CHECK(plainText(outcome.error()) ==
        "usage: only replicated services can be scaled: service 'each' is global, with one task on "
        "each node");
}

}  // namespace
}  // namespace orch::control::manager
