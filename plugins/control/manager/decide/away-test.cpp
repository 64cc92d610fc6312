// Nodes that are away for a while: what is tolerated, and what they did by themselves.
#include <catch2/catch.hpp>

#include "decide/bench.h"
#include "decide/local-restart.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

constexpr const char* LOCAL_ID = "localtask0000000000000001";

// Two nodes; all tasks of a service run on the first.
Bench twoNodes(uint32_t replicas) {
  Bench bench;
  bench.node("one");
  bench.node("two");
  bench.service(replicas);
  bench.reconcile();
  bench.run("one");
  return bench;
}

void tolerate(Bench& bench, uint64_t milliseconds) {
  bench.change([&](View& view) {
    view.editService(bench.serviceId, [&](schema::Service::Builder service) {
      service.getSpec().getTask().getPlacement().setTolerateDownMs(milliseconds);
    });
  });
}

// When the service is to be looked at again.
int64_t reconcileAndWake(Bench& bench) {
  int64_t atNs = NEVER_NS;
  bench.change([&](View& view) {
    reconcileService(view, bench.serviceId);
    for (auto& wake : view.wakeUps()) atNs = std::min(atNs, wake.second);
  });
  return atNs;
}

TEST_CASE("away: tasks of a node that is down are replaced once it is no longer tolerated",
          "[manager]") {
  auto bench = twoNodes(2);
  tolerate(bench, 30'000);
  bench.heard("one", Presence::MISSED);
  int64_t untilNs = bench.nowNs + 30'000 * NS_PER_MS;
  CHECK(reconcileAndWake(bench) == untilNs);
  bench.nowNs = untilNs - 1;
  CHECK(reconcileAndWake(bench) == untilNs);
  CHECK(bench.count(TaskState::RUNNING) == 2);
  SECTION("by then they are") {
    bench.nowNs = untilNs;
    bench.reconcile();
    CHECK(bench.count(TaskState::SHUTDOWN) == 2);
    CHECK(bench.state.all(Kind::TASK).size() == 4);
  }
  SECTION("one that is back in time keeps them") {
    bench.heard("one", Presence::HEARD);
    bench.nowNs = 2 * untilNs;
    CHECK(reconcileAndWake(bench) == NEVER_NS);
    CHECK(bench.state.all(Kind::TASK).size() == 2);
  }
  SECTION("its removal or a drain are not waited for") {
    bench.availability("one", schema::Node::Availability::DRAIN);
    bench.reconcile();
    CHECK(bench.count(TaskState::SHUTDOWN) == 2);
  }
  SECTION("what is tolerated can be changed meanwhile, and no task is replaced for that") {
    tolerate(bench, 0);
    bench.reconcile();
    CHECK(bench.count(TaskState::SHUTDOWN) == 2);
  }
}

TEST_CASE("away: what is tolerated of nodes replaces no task", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode().open();
  cluster.create({"web", 2});
  cluster.settle();
  Spec tolerant{"web", 2};
  tolerant.more = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().setTolerateDownMs(30'000);
  };
  CHECK(cluster.update(tolerant) == "");
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.states("web", "") == "running running");
  tolerant.name = "everywhere";
  tolerant.more = [more = tolerant.more](schema::ServiceSpec::Builder spec) {
    more(spec);
    spec.getMode().setGlobal();
  };
  CHECK(
      cluster.createError(tolerant) ==
      "usage: --tolerate-down is for replicated services: the task of a global one stays with its "
      "node");
}

struct Said {
  std::string ended;
  std::string next = LOCAL_ID;
  TaskState state = TaskState::RUNNING;
  TaskState endedState = TaskState::FAILED;
  const char* node = "one";
  uint32_t restarts = 1;
};

// What a node that is back says of one restart.
bool takeIn(Bench& bench, const Said& said) {
  bool taken = false;
  bench.change([&](View& view) {
    capnp::MallocMessageBuilder message;
    auto restart = message.initRoot<schema::LocalRestart>();
    auto ended = restart.initEnded();
    ended.setTaskId(said.ended.c_str());
    ended.initStatus().setState(said.endedState);
    ended.getStatus().setError("task: non-zero exit (3)");
    auto next = restart.initNext();
    next.setTaskId(said.next.c_str());
    next.initStatus().setState(said.state);
    restart.setRestarts(said.restarts);
    taken = takeLocalRestart(view, said.node, restart.asReader());
  });
  return taken;
}

void endBadly(Bench& bench, const std::string& taskId) {
  bench.change([&](View& view) {
    view.editStatus(KJ_ASSERT_NONNULL(view.task(taskId)),
                    [](schema::TaskStatus::Builder status) { status.setState(TaskState::FAILED); });
  });
}

std::string onlyTaskOf(Bench& bench) { return bench.state.all(Kind::TASK).begin()->first; }

TEST_CASE("away: what a node restarted is the cluster's, unless it was replaced", "[manager]") {
  auto bench = twoNodes(1);
  auto first = onlyTaskOf(bench);
  SECTION("it was not") {
    bench.nowNs += 1;
    REQUIRE(takeIn(bench, {.ended = first, .restarts = 4}));
    auto object = bench.state.find(Kind::TASK, LOCAL_ID);
    REQUIRE(object != nullptr);
    TaskReader next(*object);
    CHECK(next.getStatus().getState() == TaskState::RUNNING);
    CHECK(next.getRestarts() == 4);
    CHECK(next.getRestartOf() == first.c_str());
    CHECK(next.getSpec().getContainer().getImage() == "web");
    TaskReader ended(*bench.state.find(Kind::TASK, first));
    CHECK(ended.getStatus().getState() == TaskState::FAILED);
    CHECK(ended.getStatus().getError() == "task: non-zero exit (3)");
    // Nothing more is done, and the same said again changes nothing.
    bench.reconcile();
    CHECK(takeIn(bench, {.ended = first, .restarts = 4}));
    bench.reconcile();
    CHECK(bench.state.all(Kind::TASK).size() == 2);
  }
  SECTION("nor was its node's silence longer than is tolerated") {
    tolerate(bench, 30'000);
    bench.heard("one", Presence::MISSED);
    bench.reconcile();
    CHECK(takeIn(bench, {first}));
  }
  SECTION("the next of a row of restarts, one of which was told before") {
    REQUIRE(takeIn(bench, {first}));
    bench.nowNs += 1;
    CHECK_FALSE(takeIn(bench, {first, "localtask0000000000000002"}));
    CHECK(takeIn(bench, {.ended = first, .next = "localtask0000000000000002", .restarts = 2}));
    bench.reconcile();
    CHECK(TaskReader(*bench.state.find(Kind::TASK, LOCAL_ID)).getStatus().getState() ==
          TaskState::FAILED);
    CHECK(bench.count(TaskState::RUNNING) == 1);
  }
  SECTION("one that has not started yet starts when its time has come") {
    REQUIRE(takeIn(bench, {.ended = first, .state = TaskState::PREPARING}));
    CHECK(TaskReader(*bench.state.find(Kind::TASK, LOCAL_ID)).getDesired() == TaskState::READY);
    bench.reconcile();
    CHECK(TaskReader(*bench.state.find(Kind::TASK, LOCAL_ID)).getDesired() == TaskState::RUNNING);
  }
  SECTION("it was replaced") {
    bench.heard("one", Presence::MISSED);
    bench.reconcile();
    CHECK_FALSE(takeIn(bench, {first}));
    CHECK(bench.state.find(Kind::TASK, LOCAL_ID) == nullptr);
  }
  SECTION("the next one is of another spec, and the node has not heard of it") {
    bench.change([&](View& view) {
      view.editService(bench.serviceId, [](schema::Service::Builder service) {
        service.setSpecVersion(2);
        service.getSpec().getTask().getContainer().setImage("web:2");
      });
    });
    endBadly(bench, first);
    ++bench.nowNs;
    bench.reconcile();
    bench.run("one");
    auto second = TaskReader(*bench.state.find(Kind::TASK, first)).getDesired();
    REQUIRE(second == TaskState::SHUTDOWN);
    CHECK_FALSE(takeIn(bench, {first}));
    CHECK(bench.state.all(Kind::TASK).size() == 2);
    CHECK(bench.count(TaskState::RUNNING) == 1);
  }
  SECTION(
      "a manager has replaced it there, and its node, which has not heard of it, did so often") {
    endBadly(bench, first);
    ++bench.nowNs;
    bench.reconcile();
    bench.run("one");
    REQUIRE(bench.state.all(Kind::TASK).size() == 2);
    for (auto& [id, object] : bench.state.all(Kind::TASK)) {
      REQUIRE(TaskReader(object).getNodeId() == "one");
      CHECK_FALSE(TaskReader(object).getByNode());
    }
    CHECK_FALSE(takeIn(bench, {.ended = first, .restarts = 3}));
    CHECK(bench.state.all(Kind::TASK).size() == 2);
    CHECK(bench.count(TaskState::SHUTDOWN) == 1);
  }
  SECTION("its service is gone") {
    bench.change([&](View& view) { view.erase(Key{Kind::SERVICE, bench.serviceId}); });
    bench.reconcile();
    CHECK_FALSE(takeIn(bench, {first}));
  }
  SECTION("a node that says what cannot be") {
    CHECK_FALSE(takeIn(bench, {.ended = first, .node = "two"}));
    CHECK_FALSE(takeIn(bench, {first, "no id"}));
    CHECK_FALSE(takeIn(bench, {"nothing"}));
    CHECK_FALSE(takeIn(bench, {.ended = first, .endedState = TaskState::RUNNING}));
    CHECK(bench.state.all(Kind::TASK).size() == 1);
    CHECK(bench.count(TaskState::RUNNING) == 1);
  }
}

}  // namespace
}  // namespace orch::control::manager
