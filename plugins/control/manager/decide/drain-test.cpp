// Nodes that are drained: at which pace, in which order, and who goes last.
#include <catch2/catch.hpp>

#include "decide/bench.h"
#include "serve/node-progress.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using Availability = schema::Node::Availability;
using Update = std::function<void(schema::UpdateConfig::Builder)>;

// Two nodes and a service that runs on the first, with an update policy.
struct Drain {
  Drain(uint32_t replicas, Update update) {
    one.open();
    spec.name = "web";
    spec.replicas = replicas;
    spec.more = [update](schema::ServiceSpec::Builder spec) {
      auto policy = spec.initUpdate();
      policy.setMonitorMs(0);
      update(policy);
    };
    cluster.create(spec);
    cluster.settle();
    REQUIRE(one.running() == replicas);
    two.open();
    cluster.advance(1 * kj::SECONDS);
  }
  void availability(const char* id, Availability availability) {
    auto request = cluster.control.updateNodeRequest();
    request.setRequestId(std::to_string(++requests).c_str());
    request.setId(id);
    request.initChange().getAvailability().setSet(availability);
    request.send().wait(cluster.world.waitScope());
    cluster.settle();
  }
  // "left 3 waiting 2", with the problem if there is one.
  std::string left(const char* id = "node1") {
    auto request = cluster.control.nodeProgressRequest();
    request.setId(id);
    auto response = request.send().wait(cluster.world.waitScope());
    auto progress = response.getProgress();
    std::string said = "left " + std::to_string(progress.getLeft()) + " waiting " +
                       std::to_string(progress.getWaiting());
    if (progress.getProblem().size() > 0) said += std::string(": ") + progress.getProblem().cStr();
    return said;
  }
  TestCluster& started() {
    cluster.start();
    return cluster;
  }
  TestCluster cluster;
  ScriptedNode& one = started().addNode("node1");
  ScriptedNode& two = cluster.addNode("node2");
  Spec spec;
  uint32_t requests = 0;
};

// The id of a task of the node that runs, or is about to.
std::string aliveOn(ScriptedNode& node, TaskState state) {
  for (auto& entry : node.tasks) {
    if (entry.second.state == state) return entry.first;
  }
  return {};
}

TEST_CASE("drain: so many at a time, each when the one before runs and the delay is over",
          "[manager]") {
  Drain drain(4, [](schema::UpdateConfig::Builder update) { update.setDelayMs(2000); });
  auto& two = drain.two;
  two.onStart = [](auto&, auto&) { return TaskState::NEW; };  // says nothing of its start
  drain.availability("node1", Availability::DRAIN);
  CHECK(drain.one.running() == 3);
  CHECK(two.tasks.size() == 1);
  CHECK(drain.left() == "left 3 waiting 3");
  drain.cluster.advance(1 * kj::MINUTES);  // it does not run yet
  CHECK(two.tasks.size() == 1);
  two.report(two.tasks.begin()->first, TaskState::RUNNING);
  drain.cluster.settle();
  CHECK(two.tasks.size() == 1);
  two.onStart = nullptr;
  drain.cluster.advance(1900 * kj::MILLISECONDS);
  CHECK(drain.one.running() == 3);
  drain.cluster.advance(200 * kj::MILLISECONDS);
  CHECK(drain.one.running() == 2);
  drain.cluster.advance(10 * kj::SECONDS);
  CHECK(drain.one.running() == 0);
  CHECK(two.running() == 4);
  CHECK(drain.left() == "left 0 waiting 0");
  CHECK(drain.cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
}

TEST_CASE("drain: with start-first a task ends when the next one runs", "[manager]") {
  Drain drain(2, [](schema::UpdateConfig::Builder update) {
    update.setOrder(schema::UpdateConfig::Order::START_FIRST);
    update.setParallelism(0);
  });
  drain.two.onStart = [](auto&, auto&) { return TaskState::NEW; };
  drain.availability("node1", Availability::DRAIN);
  CHECK(drain.one.running() == 2);
  REQUIRE(drain.two.tasks.size() == 2);
  drain.two.report(drain.two.tasks.begin()->first, TaskState::RUNNING);
  drain.cluster.settle();
  CHECK(drain.one.running() == 1);
  drain.two.report(drain.two.tasks.rbegin()->first, TaskState::RUNNING);
  drain.cluster.settle();
  CHECK(drain.one.running() == 0);
}

TEST_CASE("drain: what cannot run elsewhere holds it up until the progress deadline", "[manager]") {
  Drain drain(2,
              [](schema::UpdateConfig::Builder update) { update.setProgressDeadlineMs(60'000); });
  drain.availability("node2", Availability::PAUSE);
  drain.availability("node1", Availability::DRAIN);
  CHECK(drain.one.running() == 1);
  drain.cluster.advance(50 * kj::SECONDS);
  CHECK(drain.one.running() == 1);
  CHECK_THAT(drain.left(), Catch::StartsWith("left 1 waiting 1: task web."));
  drain.cluster.advance(20 * kj::SECONDS);
  CHECK(drain.one.running() == 0);
}

TEST_CASE("drain: one that fails again and again holds nobody up", "[manager]") {
  Drain drain(3, [](schema::UpdateConfig::Builder) {});
  drain.two.onStart = [](auto&, auto&) { return TaskState::FAILED; };
  drain.availability("node1", Availability::DRAIN);
  drain.cluster.advance(1 * kj::SECONDS);
  CHECK(drain.one.running() == 0);
}

TEST_CASE("drain: a paused update does not hold it up, one that goes on does the moving",
          "[manager]") {
  Drain drain(3, [](schema::UpdateConfig::Builder) {});
  drain.two.onStart = [](auto&, const ScriptedNode::Seen& task) {
    return task.image == "web:bad" ? TaskState::FAILED : TaskState::RUNNING;
  };
  drain.one.onStart = drain.two.onStart;
  drain.spec.image = "web:bad";
  drain.cluster.update(drain.spec);
  drain.cluster.advance(1 * kj::SECONDS);
  REQUIRE(drain.cluster.progress("web").getProgress().getVerdict() == schema::Verdict::PAUSED);
  drain.spec.image = "web:2";
  drain.spec.more = [more = drain.spec.more](schema::ServiceSpec::Builder spec) {
    more(spec);
    spec.getUpdate().setDelayMs(5000);
  };
  drain.cluster.update(drain.spec);
  drain.cluster.settle();
  drain.availability("node1", Availability::DRAIN);
  drain.cluster.advance(1 * kj::MINUTES);
  CHECK(drain.one.running() == 0);
  CHECK(drain.two.running() == 3);
  auto tasks = drain.cluster.tasks("web", "");
  for (auto task : tasks.getTasks()) {
    bool second = task.getSpec().getContainer().getImage() == "web:2";
    if (second) CHECK(task.getNodeId() == "node2");
  }
}

TEST_CASE("drain: what does not run yet moves at once", "[manager]") {
  Drain drain(3, [](schema::UpdateConfig::Builder) {});
  drain.availability("node2", Availability::DRAIN);
  drain.one.onStart = [](auto&, auto&) { return TaskState::NEW; };
  drain.cluster.scale("web", 5);
  drain.cluster.settle();
  REQUIRE(!aliveOn(drain.one, TaskState::ASSIGNED).empty());
  drain.availability("node2", Availability::ACTIVE);
  drain.two.onStart = [](auto&, auto&) { return TaskState::NEW; };
  drain.availability("node1", Availability::DRAIN);
  // Those two, and nobody who runs: they are to run first.
  CHECK(drain.two.tasks.size() == 2);
  CHECK(drain.one.running() == 3);
}

TEST_CASE("drain: tasks of global services go last", "[manager]") {
  Drain drain(2, [](schema::UpdateConfig::Builder update) { update.setDelayMs(2000); });
  Spec everywhere{"agent", 1};
  everywhere.more = [](schema::ServiceSpec::Builder spec) { spec.getMode().setGlobal(); };
  drain.cluster.create(everywhere);
  drain.cluster.settle();
  REQUIRE(drain.one.running() == 3);
  drain.availability("node1", Availability::DRAIN);
  CHECK(drain.one.running() == 2);  // one of `web`, and that of `agent`
  drain.cluster.advance(1900 * kj::MILLISECONDS);
  CHECK(drain.one.running() == 2);
  drain.cluster.advance(5 * kj::SECONDS);
  CHECK(drain.one.running() == 0);
  CHECK(drain.two.running() == 3);
  auto progress = drain.cluster.progress("agent");
  CHECK(progress.getProgress().getDesired() == 1);
  CHECK(progress.getProgress().getVerdict() == schema::Verdict::CONVERGED);
}

}  // namespace
}  // namespace orch::control::manager
