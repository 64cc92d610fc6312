#include <catch2/catch.hpp>

#include <algorithm>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/log-limit.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

constexpr const char* OWN_NODE = "testnode00000000000000000";  // of the test host

bool saw(TestCluster& cluster, const std::string& topic) {
  auto& events = cluster.host.events();
  return std::any_of(events.begin(), events.end(),
                     [&](auto& event) { return event.topic == topic; });
}

schema::Node::State nodeState(TestCluster& cluster, const char* id = "node1") {
  auto request = cluster.control.nodeRequest();
  request.setId(id);
  return request.send().wait(cluster.world.waitScope()).getNode().getState();
}

TEST_CASE("dispatcher: a node without heartbeats is down, and ready when it is back", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.advance(10 * kj::SECONDS);
  CHECK(nodeState(cluster) == schema::Node::State::READY);
  node.beats = false;
  cluster.advance(2 * kj::SECONDS);
  CHECK(nodeState(cluster) == schema::Node::State::READY);
  cluster.advance(1 * kj::SECONDS);
  CHECK(nodeState(cluster) == schema::Node::State::DOWN);
  CHECK(saw(cluster, "node.down"));
  node.beats = true;
  cluster.advance(2 * kj::SECONDS);
  CHECK(nodeState(cluster) == schema::Node::State::READY);
}

TEST_CASE("dispatcher: a node that is back is ready with its session, whatever could not be saved",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  node.cut();
  cluster.advance(5 * kj::SECONDS);
  REQUIRE(nodeState(cluster) == schema::Node::State::DOWN);
  cluster.store.inject(testing::MemoryStore::Fault::REFUSE);
  REQUIRE(cluster.createError({"web"}) != "");
  node.open();  // while the manager decides nothing by itself, for a moment
  CHECK(nodeState(cluster) == schema::Node::State::READY);
}

TEST_CASE("dispatcher: the tasks of a node that is down run elsewhere", "[manager]") {
  FourOnTwo world;
  auto& [cluster, one, two] = world;
  CHECK(one.running() == 2);
  // A connection that breaks may be made again within half a second.
  one.cut();
  cluster.advance(400 * kj::MILLISECONDS);
  one.open();
  cluster.advance(400 * kj::MILLISECONDS);
  CHECK(two.running() == 2);
  // One that is silent has longer.
  one.beats = false;
  cluster.advance(1500 * kj::MILLISECONDS);
  CHECK(two.running() == 2);
  one.cut();
  cluster.advance(600 * kj::MILLISECONDS);
  CHECK(two.running() == 4);
  CHECK(cluster.service("web").getRunning() == 4);
  // It comes back: what runs elsewhere now stops there.
  one.open();
  cluster.settle();
  CHECK(one.running() == 0);
  CHECK(two.running() == 4);
}

TEST_CASE("dispatcher: one that closes its session may come back in time, one that leaves may not",
          "[manager]") {
  FourOnTwo world;
  auto& [cluster, one, two] = world;
  one.close(false);
  cluster.advance(2 * kj::SECONDS);
  CHECK(two.running() == 2);
  one.open();
  cluster.settle();
  CHECK(one.running() == 2);
  one.close(true);
  cluster.advance(1 * kj::MILLISECONDS);
  CHECK(two.running() == 4);
}

TEST_CASE("dispatcher: with nowhere to go tasks stay where they are, and run on", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({"web", 2});
  cluster.settle();
  node.beats = false;
  cluster.advance(5 * kj::SECONDS);
  CHECK(nodeState(cluster) == schema::Node::State::DOWN);
  CHECK(cluster.service("web").getRunning() == 0);
  auto progress = cluster.progress("web");
  CHECK(progress.getProgress().getProblem() == "task web.2: node 'host-node1' is down");
  node.beats = true;
  cluster.advance(2 * kj::SECONDS);
  CHECK(cluster.service("web").getRunning() == 2);
  CHECK(cluster.states("web", "") == "running running");
}

TEST_CASE("dispatcher: the complete set first, then differences", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.create({"early", 2});
  auto& node = cluster.addNode();
  node.open();
  cluster.settle();
  cluster.create({"late", 1});
  cluster.settle();
  CHECK(node.completeSets == 1);
  CHECK(node.running() == 3);
}

TEST_CASE("dispatcher: another session of a node ends the first", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({});
  cluster.settle();
  auto& again = cluster.addNode();
  again.tasks = node.tasks;
  again.open();
  cluster.settle();
  CHECK(again.completeSets == 1);
  CHECK(again.running() == 1);
  node.report(node.tasks.begin()->first, TaskState::FAILED);
  cluster.settle();
  CHECK(cluster.states("web", "") == "running");
}

TEST_CASE("dispatcher: a node that opens sessions without end is refused, and nobody else",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode("other").open();
  auto openAs = [&](const char* id) {
    auto request = cluster.dispatcher.openRequest();
    request.setNodeId(id);
    request.initDescription().setHostname("host");
    return attempt(request.send().ignoreResult()).wait(cluster.world.waitScope());
  };
  uint32_t opened = 0;
  for (int i = 0; i < 1000; ++i) {
    auto outcome = openAs("node1");
    opened += outcome.ok() ? 1 : 0;
    if (!outcome.ok()) CHECK(outcome.error().getType() == kj::Exception::Type::OVERLOADED);
  }
  CHECK(opened == 20);
  auto& lines = cluster.host.logLines();
  auto told = std::count(lines.begin(), lines.end(), "warn manager.node-refused");
  CHECK(told == LogLimit::AT_ONCE);
  CHECK(openAs("node2").ok());
  cluster.world.advance(1 * kj::SECONDS);
  CHECK(openAs("node1").ok());
}

TEST_CASE("dispatcher: a state never goes back, nor does a node touch another's task",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& one = cluster.addNode("node1");
  one.open();
  cluster.create({});
  cluster.settle();
  auto id = one.tasks.begin()->first;
  one.report(id, TaskState::PREPARING);
  auto& two = cluster.addNode("node2");
  two.open();
  two.report(id, TaskState::FAILED);
  cluster.settle();
  CHECK(cluster.states("web", "") == "running");
  CHECK(two.gone == std::vector<std::string>{id});
  auto& lines = cluster.host.logLines();
  CHECK(std::count(lines.begin(), lines.end(), "warn manager.node-refused") == 1);
}

TEST_CASE("dispatcher: a node is who its certificate says, as long as it is a member",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode("node1").open();
  auto& waitScope = cluster.world.waitScope();
  auto openAs = [&](schema::Role role, const char* certified, const char* said) {
    auto find = cluster.peers.at("dispatcher").openRequest();
    find.initPeer().setRole(role);
    find.getPeer().setId(certified);
    auto found = find.send().getService().castAs<schema::Dispatcher>();
    auto request = found.openRequest();
    request.setNodeId(said);
    request.initDescription().setHostname("host");
    auto opened = attempt(request.send()).wait(waitScope);
    return std::string(opened.ok() ? "" : opened.message().cStr());
  };
  CHECK(openAs(schema::Role::WORKER, "node1", "node1").empty());
  CHECK(openAs(schema::Role::WORKER, "node1", "node2") ==
        "the certificate is of node 'node1', not of 'node2'");
  CHECK(openAs(schema::Role::WORKER, "node9", "node9") ==
        "this node was removed from the cluster; 'orch leave' on it, then 'orch join'");
  for (auto role : {schema::Role::JOINER, schema::Role::ADMIN}) {
    CHECK(openAs(role, "node1", "node1") == "only nodes of the cluster have sessions");
  }
  for (int i = 0; i < 1000; ++i) openAs(schema::Role::WORKER, "node1", "node2");
  auto& lines = cluster.host.logLines();
  auto told = std::count(lines.begin(), lines.end(), "warn manager.node-refused");
  CHECK(told == 1 + LogLimit::AT_ONCE);
  auto nodes = cluster.control.nodesRequest().send().wait(waitScope);
  CHECK(nodes.getNodes().size() == 1);
}

TEST_CASE("dispatcher: a task that nobody knows is told to go", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  node.report("stranger", TaskState::RUNNING);
  node.report(std::string(1 << 20, 'x'), TaskState::RUNNING);  // of that nothing is remembered
  cluster.settle();
  CHECK(node.gone == std::vector<std::string>{"stranger"});
}

TEST_CASE("dispatcher: after a restart of the manager nodes have time to come back", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({"web", 2});
  cluster.settle();
  auto tasks = node.tasks;
  auto epoch = node.epoch;
  cluster.stop();
  cluster.start();
  cluster.settle();
  CHECK(nodeState(cluster) == schema::Node::State::UNKNOWN);
  CHECK(cluster.states("web", "") == "running running");
  cluster.advance(10 * kj::SECONDS);
  auto& again = cluster.addNode();
  again.tasks = tasks;
  again.open();
  cluster.settle();
  CHECK(again.epoch > epoch);
  CHECK(nodeState(cluster) == schema::Node::State::READY);
  CHECK(cluster.states("web", "") == "running running");
  again.cut();
  cluster.advance(3 * kj::SECONDS);
  CHECK(nodeState(cluster) == schema::Node::State::DOWN);
}

TEST_CASE("dispatcher: who is alive is not written, nor who leads", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode("node1").open();
  cluster.addNode(OWN_NODE).open();
  cluster.settle();
  auto read = [&] { return cluster.control.nodesRequest().send().wait(cluster.world.waitScope()); };
  auto before = read();
  cluster.stop();
  cluster.start();
  auto unknown = read();
  for (auto node : unknown.getNodes()) CHECK(node.getState() == schema::Node::State::UNKNOWN);
  cluster.addNode("node1").open();
  cluster.addNode(OWN_NODE).open();
  cluster.advance(20 * kj::SECONDS);
  auto after = read();
  REQUIRE(after.getNodes().size() == 2);
  for (uint32_t i = 0; i < 2; ++i) {
    auto node = after.getNodes()[i];
    bool own = node.getMeta().getId() == OWN_NODE;
    CHECK(node.getMeta().getVersion() == before.getNodes()[i].getMeta().getVersion());
    CHECK(node.getState() == schema::Node::State::READY);
    CHECK(node.getLeader() == own);
    CHECK((node.getRole() == schema::Node::Role::MANAGER) == own);
  }
  auto info = cluster.control.infoRequest().send().wait(cluster.world.waitScope());
  CHECK(info.getInfo().getLeader() == OWN_NODE);
  CHECK(info.getInfo().getManagers() == 1);
}

TEST_CASE("dispatcher: a node that was down stays so until it is heard of", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  node.cut();
  cluster.advance(3 * kj::SECONDS);
  REQUIRE(nodeState(cluster) == schema::Node::State::DOWN);
  cluster.stop();
  cluster.start();
  CHECK(nodeState(cluster) == schema::Node::State::DOWN);
  cluster.addNode().open();
  cluster.settle();
  CHECK(nodeState(cluster) == schema::Node::State::READY);
}

TEST_CASE("dispatcher: the loss of many tasks is worked off in slices", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& lost = cluster.addNode("lost");
  lost.open();
  constexpr uint32_t SERVICES = 200;
  for (uint32_t i = 0; i < SERVICES; ++i) cluster.create({"web" + std::to_string(i), 1});
  cluster.settle();
  REQUIRE(lost.running() == SERVICES);
  constexpr uint32_t NODES = 50;
  std::vector<ScriptedNode*> others;
  for (uint32_t i = 0; i < NODES; ++i) {
    others.push_back(&cluster.addNode("node" + std::to_string(i)));
    others.back()->onStart = [](auto&, auto&) { return TaskState::NEW; };  // says nothing
    others.back()->open();
  }
  cluster.advance(1 * kj::SECONDS);
  lost.cut();
  cluster.advance(5 * kj::SECONDS);
  size_t moved = 0;
  for (auto node : others) moved += node->tasks.size();
  CHECK(moved == SERVICES);
  CHECK(cluster.store.largestBatch() <= 128);
}

TEST_CASE("dispatcher: tasks of a node that is away for a day are given up", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({});
  cluster.settle();
  cluster.remove("web");  // its stop is not heard of any more
  node.cut();
  cluster.advance(5 * kj::SECONDS);
  cluster.advance(25 * kj::HOURS);
  auto request = cluster.control.tasksRequest();
  CHECK(request.send().wait(cluster.world.waitScope()).getTasks().size() == 0);
}

TEST_CASE("dispatcher: what a worker says at too great length holds nobody up", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode("node1");
  auto& other = cluster.addNode("node2");
  node.open();
  other.open();
  node.onStart = [](auto&, auto&) { return TaskState::NEW; };
  cluster.create({"web", 2});
  cluster.settle();
  auto id = node.tasks.begin()->first;
  SECTION("a status is cut") {
    std::string error;
    while (error.size() < (5 << 20)) error += "ä";
    node.report(id, TaskState::RUNNING, error);
    cluster.settle();
    CHECK(cluster.states("web") == "running running");
    auto tasks = cluster.tasks("web");
    for (auto task : tasks.getTasks()) {
      auto status = task.getStatus();
      if (task.getMeta().getId() != id.c_str()) continue;
      CHECK_THAT(status.getMessage().cStr(), Catch::Contains("bytes was cut"));
      CHECK(status.getError().size() < 5000);
      CHECK(status.getError().endsWith("ä…"));
    }
    for (int i = 0; i < 20; ++i) node.report(id, TaskState::RUNNING, error);
    cluster.settle();
    auto& lines = cluster.host.logLines();
    CHECK(std::count(lines.begin(), lines.end(), "warn manager.node-refused") == LogLimit::AT_ONCE);
  }
  SECTION("a description is refused") {
    auto request = cluster.dispatcher.openRequest();
    request.setNodeId("node3");
    request.initDescription().setHostname(std::string(3 << 20, 'x').c_str());
    auto outcome = attempt(request.send()).wait(cluster.world.waitScope());
    REQUIRE(!outcome.ok());
    CHECK_THAT(plainText(outcome.error()).cStr(),
               Catch::Contains("node 'node3' describes itself with"));
  }
  cluster.create({"two", 1});
  cluster.settle();
  CHECK(cluster.tasks("two", "").getTasks().size() == 1);
}

}  // namespace
}  // namespace orch::control::manager
