#include <catch2/catch.hpp>

#include <set>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

Spec reserving(const char* name, uint32_t replicas, uint64_t memoryBytes) {
  Spec spec{name, replicas, "web:1", {}};
  spec.more = [=](schema::ServiceSpec::Builder it) {
    it.getTask().initResources().setReserveMemoryBytes(memoryBytes);
  };
  return spec;
}

std::string problem(TestCluster& cluster, const char* name) {
  auto progress = cluster.progress(name);
  return progress.getProgress().getProblem().cStr();
}

TEST_CASE("scheduling: without a node tasks wait and say why, and are placed when one comes",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.create({"web", 2});
  cluster.settle();
  CHECK(cluster.states("web") == "pending pending");
  CHECK(problem(cluster, "web") == "task web.2: no suitable node (the cluster has no node yet)");
  cluster.addNode().open();
  cluster.settle();
  CHECK(cluster.states("web") == "running running");
}

TEST_CASE("scheduling: reservations are kept, and freed by tasks that end", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.memoryBytes = 4ull << 30;
  node.open();
  cluster.create(reserving("big", 3, 1ull << 30));
  cluster.create(reserving("more", 3, 1ull << 30));
  cluster.settle();
  CHECK(cluster.states("more") == "running pending pending");
  CHECK(problem(cluster, "more") ==
        "task more.3: no suitable node (insufficient memory on 1 node)");
  auto commits = cluster.store.commits();
  cluster.advance(60 * kj::SECONDS);
  CHECK(cluster.store.commits() == commits);  // retried on news, not on a timer
  cluster.remove("big");
  cluster.settle();
  CHECK(cluster.states("more") == "running running running");
}

// Found by the oracle: old tasks, which have no port, were counted as if they had.
TEST_CASE("scheduling: an update that adds a port of the node is placed beside the old tasks",
          "[manager]") {
  FourOnTwo four;
  auto& cluster = four.cluster;
  cluster.update({"web", 4, "web:2", [](schema::ServiceSpec::Builder spec) {
                    auto port = spec.initEndpoint().initPorts(1)[0];
                    port.setTarget(80);
                    port.setPublished(8080);
                    port.setMode(schema::PortSpec::PublishMode::HOST);
                    spec.initUpdate().setMonitorMs(100);
                  }});
  cluster.advance(30 * kj::SECONDS);
  std::set<std::string> nodes;
  auto answer = cluster.tasks("web");
  for (auto task : answer.getTasks()) {
    bool fresh = task.getSpec().getContainer().getImage() == "web:2";
    if (fresh && task.getNodeId().size() > 0) nodes.insert(task.getNodeId().cStr());
  }
  CHECK(nodes == std::set<std::string>{"node1", "node2"});
  CHECK(problem(cluster, "web") == "task web.3: no suitable node (host port in use on 2 nodes)");
}

TEST_CASE("scheduling: a reservation that no node has is accepted with a warning", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode().open();
  auto request = cluster.control.createServiceRequest();
  request.setRequestId("huge");
  auto spec = request.initSpec();
  spec.setName("huge");
  spec.getMode().initReplicated();
  spec.initTask().initContainer().setImage("web");
  spec.getTask().initResources().setReserveCpuNanos(1'000'000'000'000);
  auto response = request.send().wait(cluster.world.waitScope());
  REQUIRE(response.getWarnings().size() == 1);
  CHECK_THAT(response.getWarnings()[0].cStr(), Catch::Contains("no node has as much cpu"));
  CHECK(cluster.states("huge") == "pending");
}

TEST_CASE("scheduling: a host port is taken once per node", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode("node1").open();
  cluster.addNode("node2").open();
  Spec spec{"web", 3, "web:1", {}};
  spec.more = [](schema::ServiceSpec::Builder it) {
    auto port = it.getEndpoint().initPorts(1)[0];
    port.setTarget(80);
    port.setPublished(8080);
    port.setMode(schema::PortSpec::PublishMode::HOST);
  };
  cluster.create(spec);
  cluster.settle();
  CHECK(cluster.states("web") == "running running pending");
  CHECK(problem(cluster, "web") == "task web.3: no suitable node (host port in use on 2 nodes)");
}

TEST_CASE("scheduling: which constraint no node meets is said", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode("node1").open();
  cluster.addNode("node2").open();
  Spec spec{"web", 1, "web:1", {}};
  spec.more = [](schema::ServiceSpec::Builder it) {
    auto constraints = it.getTask().initPlacement().initConstraints(2);
    constraints.set(0, "node.hostname != host-node1");
    constraints.set(1, "node.labels.zone==east");
  };
  cluster.create(spec);
  cluster.settle();
  CHECK(problem(cluster, "web") ==
        "task web.1: no suitable node (constraint node.hostname != host-node1 not met on 1 node; "
        "constraint node.labels.zone==east not met on 1 node)");
}

TEST_CASE("scheduling: at most so many replicas on a node", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode("node1").open();
  cluster.addNode("node2").open();
  Spec spec{"web", 6, "web:1", {}};
  spec.more = [](schema::ServiceSpec::Builder it) {
    it.getTask().initPlacement().setMaxReplicasPerNode(2);
  };
  cluster.create(spec);
  cluster.settle();
  CHECK(cluster.states("web") == "running running running running pending pending");
  CHECK_THAT(problem(cluster, "web"), Catch::Contains("max replicas per node reached on 2 nodes"));
}

TEST_CASE("scheduling: spread over nodes, and scaled down from the fullest", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& one = cluster.addNode("node1");
  auto& two = cluster.addNode("node2");
  one.open();
  two.open();
  cluster.create({"web", 6});
  cluster.settle();
  CHECK(one.running() == 3);
  CHECK(two.running() == 3);
  cluster.scale("web", 2);
  cluster.settle();
  CHECK(one.running() == 1);
  CHECK(two.running() == 1);
}

TEST_CASE("scheduling: what an update leaves is spread, though old and new run side by side",
          "[manager]") {
  auto parallelism = GENERATE(1u, 2u, 3u, 4u);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    TestCluster cluster(1000, seed);
    cluster.start();
    ScriptedNode* nodes[] = {&cluster.addNode("node1"), &cluster.addNode("node2"),
                             &cluster.addNode("node3")};
    for (auto node : nodes) node->open();
    Spec spec{"web", 6, "web:1", {}};
    spec.more = [=](schema::ServiceSpec::Builder it) {
      auto update = it.initUpdate();
      update.setOrder(schema::UpdateConfig::Order::START_FIRST);
      update.setParallelism(parallelism);
    };
    cluster.create(spec);
    cluster.settle();
    spec.image = "web:2";
    CHECK(cluster.update(spec) == "");
    cluster.settle();
    INFO("parallelism " << parallelism << ", seed " << seed);
    for (auto node : nodes) {
      CHECK(node->running() == 2);
      for (auto& entry : node->tasks) {
        CHECK((entry.second.state != TaskState::RUNNING || entry.second.image == "web:2"));
      }
    }
  }
}

TEST_CASE("scheduling: scale down takes what does not run first, then the highest slot",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.onStart = [](auto&, auto& task) {
    return task.slot == 2 ? TaskState::NEW : TaskState::RUNNING;  // slot 2 never gets there
  };
  node.open();
  cluster.create({"web", 4});
  cluster.settle();
  cluster.scale("web", 2);
  cluster.settle();
  auto tasks = cluster.tasks("web");
  REQUIRE(tasks.getTasks().size() == 2);
  CHECK(tasks.getTasks()[0].getSlot() == 1);
  CHECK(tasks.getTasks()[1].getSlot() == 3);
  cluster.scale("web", 3);
  cluster.settle();
  CHECK(cluster.tasks("web").getTasks()[1].getSlot() == 2);  // the lowest free number
}

TEST_CASE("scheduling: tasks that never had a node vanish with their service", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.create({"web", 3});
  auto id = cluster.remove("web");
  cluster.settle();
  CHECK(cluster.control.tasksRequest().send().wait(cluster.world.waitScope()).getTasks().size() ==
        0);
  CHECK(cluster.progress(id).getProgress().getVerdict() == schema::Verdict::GONE);
}

TEST_CASE("scheduling: a node that keeps failing is used last", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& bad = cluster.addNode("node1");
  auto& good = cluster.addNode("node2");
  bad.onStart = [](auto&, auto&) { return TaskState::FAILED; };
  bad.open();
  good.open();
  Spec spec{"web", 2, "web:1", {}};
  spec.more = [](schema::ServiceSpec::Builder it) { it.getTask().initRestart().setDelayMs(0); };
  cluster.create(spec);
  cluster.advance(5 * kj::SECONDS);
  CHECK(good.running() == 2);
}

TEST_CASE("scheduling: progress answers at once when something changes, else at the timeout",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  auto id = cluster.create({"web", 1});
  cluster.settle();
  auto ask = [&](uint64_t after) {
    auto request = cluster.control.progressRequest();
    request.setId(id.c_str());
    request.setAfter(after);
    request.setTimeoutMs(5000);
    return request.send();
  };
  auto first = ask(0).wait(cluster.world.waitScope());
  auto start = cluster.world.env().nowNs();
  auto same = ask(first.getRevision()).wait(cluster.world.waitScope());
  CHECK(cluster.world.env().nowNs() - start == 5'000'000'000);
  CHECK(same.getRevision() == first.getRevision());
  auto next = ask(first.getRevision());
  start = cluster.world.env().nowNs();
  cluster.scale("web", 2);
  auto changed = next.wait(cluster.world.waitScope());
  CHECK(cluster.world.env().nowNs() == start);
  CHECK(changed.getRevision() > first.getRevision());
  CHECK(changed.getProgress().getDesired() == 2);
}

class Sink final : public schema::LogSink::Server {
 public:
  explicit Sink(std::vector<std::string>& seen) : seen(seen) {}
  kj::Promise<void> lines(LinesContext context) override {
    for (auto line : context.getParams().getLines()) {
      seen.emplace_back(line.getTaskName().cStr());
      seen.back() += "|" + std::string(line.getText().asChars().begin(), line.getText().size());
    }
    return kj::READY_NOW;
  }

 private:
  std::vector<std::string>& seen;
};

TEST_CASE("logs: of all tasks of a service, and of those that start while it is followed",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode().open();
  cluster.create({"web", 2});
  cluster.settle();
  std::vector<std::string> once;
  auto request = cluster.control.logsRequest();
  request.setId("web");
  request.setSink(kj::heap<Sink>(once));
  request.send().wait(cluster.world.waitScope());
  REQUIRE(once.size() == 2);
  CHECK_THAT(once[0], Catch::StartsWith("web.1.") && Catch::Contains("|hello of "));

  std::vector<std::string> followed;
  auto following = cluster.control.logsRequest();
  following.setId("web");
  following.initOptions().setFollow(true);
  following.setSink(kj::heap<Sink>(followed));
  {
    auto call = following.send().ignoreResult().eagerlyEvaluate(nullptr);
    cluster.advance(2 * kj::SECONDS);  // serve/log-merge.h
    CHECK(followed.size() == 2);
    cluster.scale("web", 3);
    cluster.advance(2 * kj::SECONDS);
    CHECK(followed.size() == 3);
  }
  cluster.scale("web", 4);
  cluster.advance(2 * kj::SECONDS);
  CHECK(followed.size() == 3);  // dropping the call ends it

  auto unknown = cluster.control.logsRequest();
  unknown.setId("wbe");
  auto outcome = attempt(unknown.send().ignoreResult()).wait(cluster.world.waitScope());
  CHECK(!outcome.ok());
}

}  // namespace
}  // namespace orch::control::manager
