// Tasks move to a node that has come, a few at a time, and then no more.
#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <sstream>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using Wish = schema::Node::Availability;
using SpecChange = std::function<void(schema::ServiceSpec::Builder)>;

struct BalancedCluster : TestCluster {
  explicit BalancedCluster(uint64_t seed = testing::testSeed()) : TestCluster(1000, seed) {
    start();
  }
  ScriptedNode& join(const std::string& id) {
    auto& node = addNode(id);
    node.open();
    settle();
    nodes[id] = &node;
    return node;
  }
  void allow(uint32_t max, uint64_t everyMs = 60'000) {
    auto request = control.updateClusterRequest();
    request.setRequestId(kj::str("allow-", ++asked));
    auto terms = request.initChange().getRebalance().initSet();
    terms.setMax(max);
    terms.setEveryMs(everyMs);
    request.send().wait(world.waitScope());
    settle();
  }
  void setAvailability(const std::string& id, Wish availability) {
    auto request = control.updateNodeRequest();
    request.setRequestId(kj::str("node-", ++asked));
    request.setId(id.c_str());
    request.initChange().getAvailability().setSet(availability);
    request.send().wait(world.waitScope());
    settle();
  }
  void setZone(const std::string& id, const char* zone) {
    auto request = control.updateNodeRequest();
    request.setRequestId(kj::str("node-", ++asked));
    request.setId(id.c_str());
    auto label = request.initChange().initAddLabels(1)[0];
    label.setKey("zone");
    label.setValue(zone);
    request.send().wait(world.waitScope());
    settle();
  }
  // Tasks that run, by node: "4 4 0".
  std::string counts(const std::string& service) {
    std::map<std::string, int> on;
    auto answer = tasks(service);
    for (auto task : answer.getTasks()) {
      on[task.getNodeId().cStr()] += task.getStatus().getState() == TaskState::RUNNING;
    }
    std::string text;
    for (auto& entry : nodes) text += (text.empty() ? "" : " ") + std::to_string(on[entry.first]);
    return text;
  }
  std::set<std::string> taskIds() {
    std::set<std::string> ids;
    auto request = control.tasksRequest();
    request.initFilter().setDesired("running");
    auto answer = request.send().wait(world.waitScope());
    for (auto task : answer.getTasks()) ids.insert(task.getMeta().getId().cStr());
    return ids;
  }
  std::vector<std::string> reasons() {
    std::vector<std::string> found;
    for (auto& event : host.events()) {
      if (event.topic == "task.rebalanced") found.push_back(event.attributes.at("reason"));
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  std::map<std::string, ScriptedNode*> nodes;
  int asked = 0;
};

TEST_CASE("rebalance: nothing moves unless it is asked for", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  cluster.create({"web", 4});
  cluster.settle();
  cluster.join("node2");
  cluster.advance(5 * kj::MINUTES);
  CHECK(cluster.counts("web") == "4 0");
}

TEST_CASE("rebalance: two a minute move, start-first, and each says why", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  cluster.create({"web", 8});
  cluster.settle();
  cluster.allow(2);
  cluster.nodes["node1"]->obeysStop = false;
  cluster.join("node2");
  CHECK(cluster.nodes["node1"]->running() == 8);
  CHECK(cluster.nodes["node2"]->running() == 2);
  cluster.nodes["node1"]->obeysStop = true;
  CHECK(cluster.reasons() ==
        std::vector<std::string>{"host-node1 has 7 tasks of web, host-node2 1",
                                 "host-node1 has 8 tasks of web, host-node2 none"});
  cluster.nodes["node1"]->close(false);
  cluster.nodes["node1"]->open();
  cluster.settle();
  CHECK(cluster.counts("web") == "6 2");
  cluster.advance(59 * kj::SECONDS);
  CHECK(cluster.counts("web") == "6 2");
  cluster.advance(2 * kj::SECONDS);
  CHECK(cluster.counts("web") == "4 4");
  auto ids = cluster.taskIds();
  cluster.advance(10 * kj::MINUTES);
  CHECK(cluster.taskIds() == ids);
}

TEST_CASE("rebalance: single tasks of many services are evened out as well", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  for (auto name : {"a", "b", "c", "d"}) cluster.create({name, 1});
  cluster.settle();
  cluster.allow(4);
  cluster.join("node2");
  cluster.advance(5 * kj::MINUTES);
  CHECK(cluster.nodes["node1"]->running() == 2);
  CHECK(cluster.nodes["node2"]->running() == 2);
  CHECK(cluster.reasons().back() == "host-node1 has 4 tasks, host-node2 none");
}

TEST_CASE("rebalance: a node that is active again gets its part", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  cluster.join("node2");
  cluster.create({"web", 4});
  cluster.settle();
  cluster.allow(10);
  cluster.setAvailability("node2", Wish::DRAIN);
  cluster.advance(1 * kj::MINUTES);
  CHECK(cluster.counts("web") == "4 0");
  cluster.setAvailability("node2", Wish::ACTIVE);
  cluster.advance(1 * kj::MINUTES);
  CHECK(cluster.counts("web") == "2 2");
}

TEST_CASE("rebalance: what only its node has stays, and what is no business of it", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  auto volume = [](auto spec) {
    auto mount = spec.getTask().getContainer().initMounts(1)[0];
    mount.setType(schema::Mount::Type::VOLUME);
    mount.setSource("data");
    mount.setTarget("/data");
  };
  auto port = [](auto spec) {
    auto one = spec.initEndpoint().initPorts(1)[0];
    one.setTarget(80);
    one.setMode(schema::PortSpec::PublishMode::HOST);
  };
  auto there = [](auto spec) {
    spec.getTask().initPlacement().initConstraints(1).set(0, "node.id==node1");
  };
  auto all = [](auto spec) { spec.getMode().setGlobal(); };
  std::vector<std::pair<const char*, SpecChange>> kinds = {
      {"volume", volume}, {"port", port}, {"there", there}, {"all", all}};
  for (auto& [name, change] : kinds) cluster.create({name, 4, "web:1", change});
  cluster.settle();
  cluster.allow(100);
  auto before = cluster.taskIds();
  cluster.join("node2");
  cluster.advance(5 * kj::MINUTES);
  auto after = cluster.taskIds();
  for (auto& id : before) CHECK(after.count(id) == 1);
  CHECK(cluster.reasons().empty());
}

TEST_CASE("rebalance: a service that is updated or waits is left alone until then", "[manager]") {
  BalancedCluster cluster;
  auto slow = [](auto spec) { spec.initUpdate().setDelayMs(30'000); };
  cluster.join("node1");
  cluster.create({"web", 4, "web:1", slow});
  cluster.settle();
  cluster.update({"web", 4, "web:2", slow});
  cluster.settle();
  cluster.allow(10);
  cluster.join("node2");
  CHECK(cluster.reasons().empty());
  cluster.advance(10 * kj::MINUTES);
  CHECK(cluster.counts("web") == "2 2");
}

TEST_CASE("rebalance: zones first, then nodes", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  cluster.join("node2");
  cluster.setZone("node1", "a");
  cluster.setZone("node2", "a");
  cluster.create({"web", 8, "web:1", [](auto spec) {
                    spec.getTask().initPlacement().initSpreadOver(1).set(0, "node.labels.zone");
                  }});
  cluster.settle();
  cluster.allow(10);
  cluster.join("node3");
  cluster.setZone("node3", "b");
  cluster.advance(5 * kj::MINUTES);
  CHECK(cluster.counts("web") == "2 2 4");
  auto ids = cluster.taskIds();
  cluster.advance(10 * kj::MINUTES);
  CHECK(cluster.taskIds() == ids);
}

TEST_CASE("rebalance: a node where it fails is left alone, and the old task stays", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  cluster.create({"web", 4});
  cluster.settle();
  cluster.allow(1, 1000);
  auto before = cluster.taskIds();
  auto& second = cluster.addNode("node2");
  int starts = 0;
  second.onStart = [&](auto&, auto&) {
    ++starts;
    return TaskState::FAILED;
  };
  second.open();
  cluster.advance(2 * kj::MINUTES);
  CHECK(starts == 1);
  CHECK(cluster.taskIds() == before);
  CHECK(cluster.nodes["node1"]->running() == 4);
}

TEST_CASE("rebalance: a plan says what will move, and that moves", "[manager]") {
  BalancedCluster cluster;
  cluster.join("node1");
  cluster.join("node2");
  cluster.setAvailability("node2", Wish::DRAIN);
  cluster.create({"web", 6});
  cluster.settle();
  cluster.allow(2);
  auto request = cluster.control.planRequest();
  auto change = request.initChanges(1)[0].initNode();
  change.setNode("node2");
  change.initChange().getAvailability().setSet(Wish::ACTIVE);
  auto answer = request.send().wait(cluster.world.waitScope());
  std::multiset<std::string> planned;
  for (auto step : answer.getPlan().getSteps()) {
    planned.insert(kj::str(static_cast<int>(step.getAction()), " ", step.getSlot(), " ",
                           step.getNode(), " ", step.getAtMs() / 1000)
                       .cStr());
  }
  CHECK(planned == std::multiset<std::string>{"0 5 host-node2 0", "0 6 host-node2 0",
                                              "1 5 host-node1 0", "1 6 host-node1 0",
                                              "0 4 host-node2 60", "1 4 host-node1 60"});
  cluster.setAvailability("node2", Wish::ACTIVE);
  cluster.advance(5 * kj::MINUTES);
  CHECK(cluster.counts("web") == "3 3");
  auto tasks = cluster.tasks("web");
  for (auto task : tasks.getTasks()) {
    CHECK((task.getNodeId() == "node2") == (task.getSlot() >= 4));
  }
}

TEST_CASE("rebalance: terms that are none are refused", "[manager]") {
  BalancedCluster cluster;
  for (auto [max, every] : {std::pair(1u, 999ull), {1001u, 60'000ull}, {1u, 90'000'000ull}}) {
    auto refused = attemptNow([&, m = max, e = every] { cluster.allow(m, e); });
    REQUIRE(!refused.ok());
    CHECK_THAT(refused.message().cStr(), Catch::Contains("--rebalance must be none, or max=1"));
  }
}

// Whatever comes and goes: in the end each service is even to within one, and then nothing moves.
TEST_CASE("rebalance: by seed, it comes to rest and stays there", "[manager]") {
  for (uint64_t seed = testing::testSeed(), last = seed + 3; seed <= last; ++seed) {
    BalancedCluster cluster(seed);
    std::mt19937_64 random(seed);
    auto below = [&](uint64_t limit) { return random() % limit; };
    int nodes = 2 + static_cast<int>(below(3));
    for (int i = 1; i <= nodes; ++i) cluster.join("node" + std::to_string(i));
    int services = 1 + static_cast<int>(below(4));
    for (int i = 0; i < services; ++i) {
      cluster.create({"s" + std::to_string(i), static_cast<uint32_t>(1 + below(9))});
    }
    cluster.settle();
    cluster.allow(static_cast<uint32_t>(1 + below(3)), 1000);
    for (int step = 0; step < 6; ++step) {
      auto id = "node" + std::to_string(1 + below(static_cast<uint64_t>(nodes)));
      if (below(3) == 0) {
        cluster.join("node" + std::to_string(++nodes));
      } else {
        cluster.setAvailability(id, below(2) == 0 ? Wish::DRAIN : Wish::ACTIVE);
      }
      cluster.advance(static_cast<int64_t>(below(5)) * kj::SECONDS);
    }
    for (auto& entry : cluster.nodes) cluster.setAvailability(entry.first, Wish::ACTIVE);
    cluster.advance(1 * kj::MINUTES);
    INFO("seed " << seed);
    for (int i = 0; i < services; ++i) {
      auto name = "s" + std::to_string(i);
      std::istringstream counts(cluster.counts(name));
      int least = 1000, most = 0;
      for (int count; counts >> count;) {
        least = std::min(least, count);
        most = std::max(most, count);
      }
      CHECK(most - least <= 1);
    }
    uint32_t least = 1000, most = 0;
    for (auto& entry : cluster.nodes) {
      least = std::min(least, entry.second->running());
      most = std::max(most, entry.second->running());
    }
    CHECK(most - least <= 1);
    auto ids = cluster.taskIds();
    cluster.advance(1 * kj::MINUTES);
    CHECK(cluster.taskIds() == ids);
  }
}

}  // namespace
}  // namespace orch::control::manager
