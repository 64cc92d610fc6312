#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/conformance/store-conformance.h"
#include "orch/fail.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using Fault = testing::MemoryStore::Fault;

class ModelFixture final : public conformance::StoreFixture {
 public:
  explicit ModelFixture(uint32_t maxOps) : maxOps(maxOps), world(1) {}
  schema::Store::Client fresh() override {
    store.emplace(maxOps, 1 << 20);
    return store->client();
  }
  schema::Store::Client reopened() override {
    store->dropFollowers();
    return store->client();
  }
  kj::WaitScope& waitScope() override { return world.waitScope(); }

 private:
  uint32_t maxOps;
  testing::VirtualWorld world;
  std::optional<testing::MemoryStore> store;
};

TEST_CASE("memory store: keeps what a store has to keep", "[manager]") {
  for (uint32_t maxOps : {8u, 1000u}) {
    ModelFixture fixture(maxOps);
    for (auto& check : conformance::storeChecks()) {
      CAPTURE(check.name, maxOps);
      auto outcome = attemptNow([&] { check.run(fixture); });
      CHECK((outcome.ok() ? std::string() : std::string(outcome.message().cStr())) == "");
    }
  }
}

TEST_CASE("manager: a store that takes few operations gets many small batches", "[manager]") {
  TestCluster cluster(8);
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({"web", 50});
  cluster.settle();
  CHECK(cluster.service("web").getRunning() == 50);
  CHECK(cluster.store.largestBatch() <= 8);
  cluster.scale("web", 3);
  cluster.settle();
  CHECK(node.tasks.size() == 3);
}

TEST_CASE("manager: a full disk refuses the request and loses nothing", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.store.inject(Fault::REFUSE);
  CHECK_THAT(cluster.createError({"web", 2}), Catch::Contains("cannot save the change: ") &&
                                                  Catch::Contains("no space left on device"));
  CHECK(cluster.createError({"web", 2}) == "");
  cluster.advance(1 * kj::SECONDS);
  CHECK(node.running() == 2);
}

TEST_CASE("manager: a commit of unknown outcome is looked up", "[manager]") {
  for (auto fault : {Fault::UNKNOWN_APPLIED, Fault::DISCONNECT_APPLIED, Fault::UNKNOWN_LOST}) {
    TestCluster cluster;
    cluster.start();
    auto& node = cluster.addNode();
    node.open();
    cluster.store.inject(fault);
    auto error = cluster.createError({"web", 2});
    CHECK(error.empty() == (fault != Fault::UNKNOWN_LOST));
    if (!error.empty()) CHECK(cluster.createError({"web", 2}) == "");
    cluster.advance(1 * kj::SECONDS);
    CHECK(node.running() == 2);
    CHECK(cluster.states("web", "") == "running running");
  }
}

TEST_CASE("manager: a pass that is cut short by a fault is finished later", "[manager]") {
  for (uint32_t skip = 0; skip < 8; ++skip) {
    TestCluster cluster(8);
    cluster.start();
    auto& node = cluster.addNode();
    node.open();
    cluster.store.inject(Fault::REFUSE, skip);
    auto error = cluster.createError({"web", 20});
    CAPTURE(skip);
    CHECK(error.empty() == (skip > 0));  // answered by the batch that holds it
    if (!error.empty()) cluster.create({"web", 20});
    cluster.advance(10 * kj::SECONDS);
    CHECK(cluster.service("web").getRunning() == 20);
    CHECK(cluster.tasks("web", "").getTasks().size() == 20);
  }
}

TEST_CASE("manager: whoever raises the epoch leads, and this one stops", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({"web", 1});
  cluster.settle();
  auto elect = cluster.store.client().electRequest();
  elect.setCandidate("another");
  elect.setExpectedEpoch(node.epoch);
  elect.send().wait(cluster.world.waitScope());
  CHECK_THAT(cluster.createError({"two", 1}), Catch::Contains("no longer leads the cluster"));
  CHECK_THAT(cluster.createError({"two", 1}), Catch::Contains("no longer leads the cluster"));
  CHECK(cluster.states("web") == "running");  // what it knows can still be read
}

TEST_CASE("manager: somebody else's change makes it load the state again", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  auto id = cluster.create({"web", 1});
  cluster.settle();
  auto meddle = cluster.store.client().commitRequest();
  meddle.setEpoch(node.epoch);
  meddle.getBatch().setId("meddled");
  auto op = meddle.getBatch().initOps(1)[0];
  op.setKind("service");
  op.setKey(id.c_str());
  op.setExpected(cluster.service("web").getService().getMeta().getVersion());
  op.setDelete();
  meddle.send().wait(cluster.world.waitScope());
  auto scale = cluster.control.scaleServiceRequest();
  scale.setRequestId("scale");
  scale.setId("web");
  scale.setReplicas(2);
  auto outcome = attempt(scale.send()).wait(cluster.world.waitScope());
  REQUIRE(!outcome.ok());
  CHECK_THAT(plainText(outcome.error()).cStr(), Catch::Contains("is being loaded again"));
  cluster.advance(1 * kj::SECONDS);
  auto tasks = node.tasks;
  auto& again = cluster.addNode();
  again.tasks = tasks;
  again.open();
  cluster.settle();
  CHECK(again.tasks.empty());  // a task without a service is removed
}

TEST_CASE("manager: the same seed makes the same decisions", "[manager]") {
  auto run = [](uint64_t seed) {
    TestCluster cluster(1000, seed);
    cluster.start();
    std::vector<ScriptedNode*> nodes;
    for (auto id : {"node1", "node2", "node3"}) {
      nodes.push_back(&cluster.addNode(id));
      nodes.back()->open();
    }
    int starts = 0;
    nodes[1]->onStart = [&](auto&, auto&) {
      return ++starts % 3 == 0 ? schema::TaskState::FAILED : schema::TaskState::RUNNING;
    };
    cluster.create({"web", 7});
    cluster.create({"db", 4});
    cluster.advance(3 * kj::SECONDS);
    cluster.scale("web", 4);
    nodes[2]->cut();
    cluster.advance(10 * kj::SECONDS);
    std::string log;
    for (auto& event : cluster.host.events()) {
      log += event.topic + " " + event.subject;
      for (auto& attribute : event.attributes)
        log += " " + attribute.first + "=" + attribute.second;
      log += "\n";
    }
    return log;
  };
  auto first = run(7);
  CHECK(first == run(7));
  CHECK(first != run(8));
}

}  // namespace
}  // namespace orch::control::manager
