// The end of a task that others are led to: told to everybody, confirmed, and then done.
#include <catch2/catch.hpp>

#include "serve/test-networks.h"
#include "session/order-gate.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

std::string text(const std::vector<OrderGate::Order>& orders) {
  std::string all;
  for (auto& order : orders) all += order.nodeId + "/" + order.taskId + " ";
  return all;
}

TEST_CASE("draining: orders go when each node has confirmed what it was told", "[manager]") {
  OrderGate gate;
  auto start = kj::origin<kj::TimePoint>();
  CHECK(gate.isOpen());
  gate.hold("n1", "t1");
  gate.hold("n1", "t1");
  gate.hold("n2", "t2");
  CHECK_FALSE(gate.isOpen());
  CHECK(text(gate.shut({{"n1", 4}, {"n3", 7}}, start)) == "");
  CHECK(gate.isOpen());
  CHECK(gate.holds("t1"));
  CHECK(gate.awaits("n3"));
  CHECK_FALSE(gate.awaits("n2"));
  CHECK(text(gate.inForce("n1", 3)) == "");  // an earlier message
  CHECK(text(gate.inForce("n1", 5)) == "");  // a later one has it in it
  CHECK_FALSE(gate.awaits("n1"));
  CHECK(text(gate.inForce("n3", 7)) == "n1/t1 n2/t2 ");
  CHECK_FALSE(gate.holds("t1"));
}

TEST_CASE("draining: nobody waits for a node that has gone, nor for ever", "[manager]") {
  OrderGate gate;
  auto start = kj::origin<kj::TimePoint>();
  gate.hold("n1", "t1");
  gate.shut({{"n2", 1}}, start);
  gate.hold("n1", "t2");
  gate.shut({{"n2", 1}, {"n3", 1}}, start + 2 * kj::SECONDS);
  gate.hold("n1", "t3");
  CHECK(text(gate.shut({}, start)) == "n1/t3 ");
  CHECK(text(gate.forget("n2")) == "n1/t1 ");
  std::set<std::string> late;
  CHECK(text(gate.expire(start + 1 * kj::SECONDS, late)) == "");
  CHECK(text(gate.expire(start + 2 * kj::SECONDS, late)) == "n1/t2 ");
  CHECK(late == std::set<std::string>{"n3"});
}

// Two tasks on each of two nodes, of a service on a network.
struct DrainingFixture : NetworkFixture {
  DrainingFixture() {
    make("net");
    create(on("net", 4));
    settle();
    for (auto node : {one, two}) CHECK(node->running() == 2);
  }
  // How many peers `node` leads new connections to.
  static size_t serving(const ScriptedNode& node) {
    size_t count = 0;
    for (auto& entry : node.peers) count += entry.second.serving;
    return count;
  }
  static size_t ending(const ScriptedNode& node) {
    size_t count = 0;
    for (auto& entry : node.tasks) count += entry.second.desired > TaskState::RUNNING;
    return count;
  }
};

TEST_CASE("draining: a task ends when all nodes have confirmed that they lead nobody there",
          "[manager]") {
  DrainingFixture cluster;
  cluster.one->confirms = false;
  auto scaled = cluster.scaleAsync("web", 2).eagerlyEvaluate(nullptr);
  cluster.settle();
  CHECK(DrainingFixture::serving(*cluster.one) == 2);
  CHECK(DrainingFixture::serving(*cluster.two) == 2);
  CHECK(DrainingFixture::ending(*cluster.one) + DrainingFixture::ending(*cluster.two) == 0);
  CHECK(cluster.one->running() + cluster.two->running() == 4);
  cluster.one->confirm();
  cluster.settle();
  CHECK(cluster.one->running() + cluster.two->running() == 2);
}

TEST_CASE("draining: a node that confirms nothing is waited for a while", "[manager]") {
  DrainingFixture cluster;
  cluster.one->confirms = false;
  auto scaled = cluster.scaleAsync("web", 2).eagerlyEvaluate(nullptr);
  cluster.advance(2 * kj::SECONDS);
  CHECK(cluster.one->running() + cluster.two->running() == 4);
  cluster.advance(2 * kj::SECONDS);
  CHECK(cluster.one->running() + cluster.two->running() == 2);
}

TEST_CASE("draining: the end of a session is the end of waiting for it", "[manager]") {
  DrainingFixture cluster;
  cluster.one->confirms = false;
  auto scaled = cluster.scaleAsync("web", 2).eagerlyEvaluate(nullptr);
  cluster.settle();
  CHECK(cluster.two->running() == 2);
  cluster.one->close(true);
  cluster.settle();
  CHECK(DrainingFixture::ending(*cluster.two) + cluster.two->gone.size() > 0);
}

TEST_CASE("draining: a task that nobody is led to ends at once", "[manager]") {
  DrainingFixture cluster;
  cluster.one->confirms = cluster.two->confirms = false;
  cluster.create({"plain", 2});
  cluster.settle();
  cluster.scale("plain", 0);
  cluster.settle();
  CHECK(cluster.states("plain").empty());
  CHECK(cluster.one->running() + cluster.two->running() == 4);
}

}  // namespace
}  // namespace orch::control::manager
