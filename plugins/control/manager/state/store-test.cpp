#include <capnp/serialize.h>
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

// Somebody else removes the service.
void meddle(TestCluster& cluster, const char* service, uint64_t epoch) {
  auto found = cluster.service(service);
  auto meta = found.getService().getMeta();
  auto request = cluster.store.client().commitRequest();
  request.setEpoch(epoch);
  request.getBatch().setId("meddled");
  auto op = request.getBatch().initOps(1)[0];
  op.setKind("service");
  op.setKey(meta.getId());
  op.setExpected(meta.getVersion());
  op.setDelete();
  request.send().wait(cluster.world.waitScope());
}

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
  cluster.create({"web", 1});
  cluster.settle();
  meddle(cluster, "web", node.epoch);
  auto outcome = attempt(cluster.scaleAsync("web", 2)).wait(cluster.world.waitScope());
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

TEST_CASE("manager: what is read while the state is loaded again is what it was", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  auto id = cluster.create({"web", 2});
  cluster.create({"other", 1});
  cluster.settle();
  auto revision = cluster.progress(id).getRevision();
  meddle(cluster, "other", node.epoch);
  cluster.store.holdLoads(true);
  cluster.scaleAsync("other", 2).detach([](kj::Exception&&) {});
  cluster.settle();
  REQUIRE_THAT(cluster.createError({"two", 1}), Catch::Contains("is being loaded again"));
  auto request = cluster.control.progressRequest();
  request.setId(id.c_str());
  request.setAfter(revision);
  request.setTimeoutMs(600'000);
  auto waiting = request.send();
  for (int i = 0; i < 3; ++i) {
    cluster.advance(10 * kj::SECONDS);
    CHECK(cluster.service("web").getRunning() == 2);
    CHECK(cluster.states("web") == "running running");
    auto now = cluster.progress(id);
    CHECK(now.getProgress().getVerdict() == schema::Verdict::CONVERGED);
    CHECK(now.getProgress().getDesired() == 2);
    CHECK_FALSE(waiting.poll(cluster.world.waitScope()));
  }
  cluster.store.holdLoads(false);
  cluster.advance(1 * kj::SECONDS);
  CHECK(waiting.poll(cluster.world.waitScope()));
  CHECK(cluster.states("web") == "running running");
  CHECK(cluster.createError({"two", 1}) == "");
}

TEST_CASE("manager: one that is deposed closes its sessions and opens none", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode("node1");
  auto& other = cluster.addNode("node2");
  node.open();
  cluster.create({"web", 1});
  cluster.settle();
  auto elect = cluster.store.client().electRequest();
  elect.setCandidate("another");
  elect.setExpectedEpoch(node.epoch);
  elect.send().wait(cluster.world.waitScope());
  SECTION("once it learns of it by a change") { CHECK(cluster.createError({"two", 1}) != ""); }
  SECTION("also by a node that comes and changes nothing") {
    // Its session was there before; only that it is opened again asks the store.
    node.cut();
    node.open();
  }
  other.open();
  cluster.advance(30 * kj::SECONDS);
  CHECK_FALSE(node.connected());
  CHECK_FALSE(other.connected());
  CHECK(node.completeSets == 1);
  CHECK(other.completeSets == 0);
  CHECK(node.running() == 1);
}

TEST_CASE("manager: without an answer of its store it says nothing to agents", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({"web", 1});
  cluster.settle();
  cluster.store.holdCommits(true);
  auto scaled = cluster.scaleAsync("web", 2);
  cluster.advance(1900 * kj::MILLISECONDS);
  CHECK(node.connected());
  cluster.advance(1200 * kj::MILLISECONDS);
  CHECK_FALSE(node.connected());
  cluster.advance(5 * kj::SECONDS);
  cluster.store.holdCommits(false);
  scaled.wait(cluster.world.waitScope());
  cluster.advance(1 * kj::SECONDS);
  CHECK(node.connected());
  CHECK(node.completeSets == 2);
  CHECK(node.running() == 2);
  cluster.advance(30 * kj::SECONDS);
  for (auto& event : cluster.host.events()) CHECK(event.topic != "node.down");
}

TEST_CASE("manager: a status whose task is missing is refused by name", "[manager]") {
  TestCluster cluster;
  auto request = cluster.store.client().commitRequest();
  request.getBatch().setId("damage");
  auto op = request.getBatch().initOps(1)[0];
  op.setKind("task-status");
  op.setKey("lonely");
  capnp::MallocMessageBuilder message;
  message.initRoot<schema::TaskStatus>().setState(schema::TaskState::RUNNING);
  op.setPut(capnp::messageToFlatArray(message).asBytes());
  request.send().wait(cluster.world.waitScope());
  CHECK_THROWS_WITH(cluster.start(), Catch::Contains("cannot read task 'lonely'") &&
                                         Catch::Contains("not the object"));
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
