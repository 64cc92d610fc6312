// Addresses that were given back, and rest before they are given again.
#include <catch2/catch.hpp>

#include "serve/test-networks.h"

namespace orch::control::manager {
namespace {

// The network `small` has five addresses to give, and `web` has all of them: four tasks and itself.
struct FullNetwork : NetworkFixture {
  FullNetwork() {
    make("small", [](auto it) { it.setSubnet("10.5.0.0/29"); });
    make("large");
    create(on("small", 4));
    settle();
  }
  // Another life of the manager, with the same nodes.
  void restart() {
    stop();
    start();
    for (auto id : {"node1", "node2"}) {
      auto& node = addNode(id);
      node.drivers = {"network.overlay"};
      node.open();
    }
    settle();
  }
  std::string problem(const std::string& name = "web") {
    return progress(name).getProgress().getProblem().cStr();
  }
};

TEST_CASE("address rest: a task waits for an address that was given back, says so, and goes on",
          "[manager]") {
  FullNetwork cluster;
  auto before = cluster.addresses();
  auto next = NetworkFixture::on("small", 4);
  next.image = "web:2";
  cluster.update(next);
  cluster.settle();
  CHECK_THAT(cluster.states("web"), Catch::Contains("pending"));
  CHECK(
      cluster.problem() ==
      "task web.1: no address is left on the network 'small' yet: those that were given back just "
      "now rest");
  cluster.advance(9 * kj::SECONDS);
  CHECK_THAT(cluster.states("web"), Catch::StartsWith("pending"));
  cluster.advance(2 * kj::SECONDS);
  CHECK_THAT(cluster.states("web"), Catch::StartsWith("running"));
  cluster.advance(120 * kj::SECONDS);
  CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
  auto after = cluster.addresses();
  CHECK(std::set(before.begin(), before.end()) == std::set(after.begin(), after.end()));
}

TEST_CASE("address rest: a service that would need one is refused until it has rested",
          "[manager]") {
  FullNetwork cluster;
  cluster.TestCluster::remove("web");
  cluster.settle();
  CHECK(cluster.createError(NetworkFixture::on("small", 1, "next")) ==
        "no address is left on the network 'small' yet: those that were given back just now rest; "
        "try again in 10s");
  CHECK(cluster.createError(NetworkFixture::on("large", 1, "other")) == "");
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.createError(NetworkFixture::on("small", 1, "next")) == "");
}

TEST_CASE("address rest: the next manager knows of what was forgotten before it", "[manager]") {
  FullNetwork cluster;
  cluster.TestCluster::remove("web");
  cluster.settle();
  CHECK(cluster.tasks("").getTasks().size() == 0);
  cluster.restart();
  CHECK_THAT(cluster.createError(NetworkFixture::on("small", 1, "next")),
             Catch::Contains("rest; try again in"));
  // Where nothing was given back nothing rests.
  CHECK(cluster.createError(NetworkFixture::on("large", 1, "other")) == "");
  cluster.advance(12 * kj::SECONDS);
  CHECK(cluster.createError(NetworkFixture::on("small", 1, "next")) == "");
  // Nor long after.
  cluster.TestCluster::remove("next");
  cluster.advance(12 * kj::SECONDS);
  cluster.restart();
  CHECK(cluster.createError(NetworkFixture::on("small", 1, "last")) == "");
}

TEST_CASE("address rest: the next manager knows when tasks ended that are remembered",
          "[manager]") {
  FullNetwork cluster;
  for (auto node : {cluster.one, cluster.two}) node->obeysStop = false;
  auto next = NetworkFixture::on("small", 4);
  next.image = "web:2";
  cluster.update(next);
  cluster.settle();
  for (auto node : {cluster.one, cluster.two}) {
    for (auto& [id, task] : node->tasks) {
      if (task.desired == schema::TaskState::SHUTDOWN)
        node->report(id, schema::TaskState::SHUTDOWN);
    }
  }
  cluster.advance(5 * kj::SECONDS);
  cluster.restart();
  CHECK_THAT(cluster.states("web"), Catch::StartsWith("pending"));
  cluster.advance(6 * kj::SECONDS);
  CHECK_THAT(cluster.states("web"), Catch::StartsWith("running"));
}

TEST_CASE("address rest: that something was given back is written once a second, not each time",
          "[manager]") {
  NetworkFixture cluster;
  cluster.make("net");
  cluster.create(NetworkFixture::on("net", 50));
  cluster.settle();
  auto version = [&] { return cluster.network("net").getNetwork().getMeta().getVersion(); };
  auto before = version();
  cluster.scale("web", 25);
  cluster.settle();
  auto once = version();
  CHECK(once > before);
  cluster.scale("web", 10);
  cluster.settle();
  CHECK(version() == once);
  cluster.advance(2 * kj::SECONDS);
  cluster.scale("web", 5);
  cluster.settle();
  CHECK(version() > once);
}

}  // namespace
}  // namespace orch::control::manager
