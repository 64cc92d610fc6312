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

}  // namespace
}  // namespace orch::control::manager
