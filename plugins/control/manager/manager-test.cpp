#include <catch2/catch.hpp>

#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

TEST_CASE("manager: a service of three replicas runs on a node", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  auto before = cluster.store.commits();
  cluster.create({"web", 3});
  CHECK(cluster.store.commits() == before + 1);  // service, request, tasks and placement at once
  cluster.settle();
  CHECK(cluster.states("web") == "running running running");
  CHECK(cluster.service("web").getRunning() == 3);
  auto progress = cluster.progress("web");
  CHECK(progress.getProgress().getVerdict() == schema::Verdict::CONVERGED);
  CHECK(progress.getProgress().getUpdated() == 3);
  CHECK(node.completeSets == 1);
}

TEST_CASE("manager: scaled down and removed, nothing is left on the node", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({"web", 5});
  cluster.settle();
  cluster.scale("web", 2);
  cluster.settle();
  CHECK(cluster.states("web", "") == "running running");
  CHECK(node.tasks.size() == 2);
  CHECK(node.gone.size() == 3);
  auto id = cluster.remove("web");
  cluster.settle();
  CHECK(node.tasks.empty());
  auto progress = cluster.progress(id);
  CHECK(progress.getProgress().getVerdict() == schema::Verdict::GONE);
  CHECK(progress.getProgress().getRemaining() == 0);
}

// Found by the simulation: the second task of a slot ran beside the first, which had not stopped.
TEST_CASE("manager: a slot that is scaled away and back waits for the task that still stops",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({"web", 2});
  cluster.settle();
  node.obeysStop = false;
  cluster.scale("web", 1);
  cluster.settle();
  std::string stopping;
  for (auto& [id, task] : node.tasks) {
    if (task.desired == TaskState::REMOVE) stopping = id;
  }
  REQUIRE(!stopping.empty());
  cluster.scale("web", 2);
  cluster.settle();
  CHECK(cluster.states("web") == "running ready");
  SECTION("until it has stopped") {
    node.report(stopping, TaskState::SHUTDOWN);
    cluster.settle();
    CHECK(cluster.states("web") == "running running");
  }
  SECTION("also through an update") {
    Spec next{"web", 2, "web:2", {}};
    next.more = [](schema::ServiceSpec::Builder it) { it.initUpdate().setParallelism(0); };
    node.obeysStop = true;
    cluster.update(next);
    cluster.settle();
    for (auto& [id, task] : node.tasks) {
      bool waits = task.slot != node.tasks[stopping].slot || task.state != TaskState::RUNNING;
      CHECK((waits || id == stopping));
    }
    node.report(stopping, TaskState::SHUTDOWN);
    cluster.settle();
    CHECK(cluster.states("web") == "running running");
  }
  SECTION("or is given up") {
    cluster.advance(75 * kj::SECONDS);
    CHECK(cluster.states("web") == "running running");
  }
}

}  // namespace
}  // namespace orch::control::manager
