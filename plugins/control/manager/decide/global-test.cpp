// Services with one task on each node.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "state/events.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using Availability = schema::Node::Availability;

using More = std::function<void(schema::ServiceSpec::Builder)>;
Spec global(const std::string& image = "web:1", More more = nullptr) {
  Spec spec;
  spec.image = image;
  spec.more = [more](schema::ServiceSpec::Builder builder) {
    builder.getMode().setGlobal();
    builder.initUpdate().setMonitorMs(0);
    if (more) more(builder);
  };
  return spec;
}
More constraint(const char* text) {
  return [text](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().initConstraints(1).set(0, text);
  };
}

struct Nodes {
  explicit Nodes(std::initializer_list<const char*> ids) {
    cluster.start();
    for (auto id : ids) add(id).open();
  }
  ScriptedNode& add(const char* id) { return *(nodes[id] = &cluster.addNode(id)); }
  ScriptedNode& operator[](const char* id) { return *nodes.at(id); }

  void change(const char* id, std::function<void(schema::NodeChange::Builder)> fill) {
    auto request = cluster.control.updateNodeRequest();
    request.setRequestId("change-" + std::to_string(++changes));
    request.setId(id);
    fill(request.initChange());
    request.send().wait(cluster.world.waitScope());
    cluster.settle();
  }
  void availability(const char* id, Availability availability) {
    change(id, [&](auto change) { change.getAvailability().setSet(availability); });
  }
  void label(const char* id, const char* value) {
    change(id, [&](auto change) {
      auto label = change.initAddLabels(1)[0];
      label.setKey("disk");
      label.setValue(value);
    });
  }
  // "node1:running node2:pending", of the tasks that should run, by node.
  std::string where(const char* desired = "running") {
    std::string all;
    auto response = cluster.tasks("web", desired);
    for (auto task : response.getTasks()) {
      CHECK(task.getSlot() == 0);
      if (!all.empty()) all += " ";
      all += std::string(task.getNodeId().cStr()) + ":" +
             stateName(task.getStatus().getState()).cStr();
    }
    return all;
  }
  // "global 2/3"
  std::string row() {
    auto response = cluster.control.servicesRequest().send().wait(cluster.world.waitScope());
    auto row = response.getServices()[0];
    return kj::str(row.getMode(), " ", row.getRunning(), "/", row.getDesired()).cStr();
  }
  schema::Verdict verdict() { return cluster.progress("web").getProgress().getVerdict(); }
  bool converged() { return verdict() == schema::Verdict::CONVERGED; }

  TestCluster cluster;
  std::map<std::string, ScriptedNode*> nodes;
  int changes = 0;
};

TEST_CASE("global: a task on each node, and on those that come", "[manager]") {
  Nodes nodes({"node1", "node2"});
  nodes.cluster.create(global());
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running node2:running");
  CHECK(nodes.row() == "global 2/2");
  CHECK(nodes.converged());
  auto response = nodes.cluster.progress("web");
  CHECK(response.getProgress().getTasks()[1].getSlot() == 0);
  CHECK(response.getProgress().getTasks()[1].getNodeId() == "node2");
  nodes.add("node3").open();
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running node2:running node3:running");
  CHECK(nodes.row() == "global 3/3");
  nodes.cluster.remove("web");
  nodes.cluster.settle();
  for (auto id : {"node1", "node2", "node3"}) CHECK(nodes[id].running() == 0);
}

TEST_CASE("global: what a node that is down has is not replaced, and goes on when it is back",
          "[manager]") {
  Nodes nodes({"node1", "node2"});
  nodes.cluster.create(global());
  nodes.cluster.settle();
  auto before = nodes.cluster.tasks("web").getTasks().size();
  nodes["node2"].cut();
  nodes.cluster.advance(10 * kj::SECONDS);
  CHECK(nodes["node1"].running() == 1);
  CHECK(nodes.row() == "global 1/1");
  CHECK(nodes.converged());
  SECTION("as it was") {
    nodes["node2"].open();
    nodes.cluster.settle();
    CHECK(nodes.cluster.tasks("web", "").getTasks().size() == before);
  }
  SECTION("replaced, if the service was updated meanwhile") {
    CHECK(nodes.cluster.update(global("web:2")) == "");
    nodes.cluster.settle();
    CHECK(nodes.converged());
    nodes["node2"].open();
    nodes.cluster.settle();
    CHECK(nodes.where("shutdown") == "node1:shutdown node2:shutdown");
  }
  SECTION("made again, if it was given up") {
    nodes.cluster.advance(25 * 3600 * kj::SECONDS);
    nodes["node2"].open();
    nodes.cluster.settle();
    CHECK(nodes.where("shutdown") == "node2:orphaned");
  }
  SECTION("or ended, if it was drained meanwhile") {
    nodes.availability("node2", Availability::DRAIN);
    nodes["node2"].open();
    nodes.cluster.settle();
    CHECK(nodes["node2"].running() == 0);
    CHECK(nodes.row() == "global 1/1");
    CHECK(nodes.converged());
    return;
  }
  CHECK(nodes.where() == "node1:running node2:running");
  CHECK(nodes["node2"].running() == 1);
  CHECK(nodes.row() == "global 2/2");
  CHECK(nodes.converged());
}

TEST_CASE("global: a drained node loses its task, a removed one is forgotten", "[manager]") {
  Nodes nodes({"node1", "node2"});
  nodes.cluster.create(global());
  nodes.cluster.settle();
  nodes["node2"].obeysStop = false;
  nodes.availability("node2", Availability::DRAIN);
  CHECK(nodes.row() == "global 1/1");
  CHECK_FALSE(nodes.converged());  // its task still stops
  SECTION("it is active again before its task has stopped: never two at once") {
    nodes.availability("node2", Availability::ACTIVE);
    CHECK(nodes["node2"].running() == 1);
    CHECK(nodes.row() == "global 1/2");
    std::string old = nodes.cluster.tasks("web", "shutdown").getTasks()[0].getMeta().getId().cStr();
    nodes["node2"].obeysStop = true;
    nodes["node2"].report(old, TaskState::SHUTDOWN);
    nodes.cluster.settle();
    CHECK(nodes["node2"].mostRunning == 1);
    CHECK(nodes.row() == "global 2/2");
    CHECK(nodes.where("shutdown") == "node2:shutdown");
  }
  SECTION("it is removed") {
    nodes["node2"].cut();
    nodes.cluster.advance(3 * kj::SECONDS);
    auto request = nodes.cluster.control.removeNodeRequest();
    request.setRequestId("remove");
    request.setId("node2");
    request.send().wait(nodes.cluster.world.waitScope());
    nodes.cluster.settle();
    CHECK(nodes.where("") == "node1:running");
  }
  CHECK(nodes.converged());
}

TEST_CASE("global: a paused node keeps its task, gets no new one, and counts with what it has",
          "[manager]") {
  Nodes nodes({"node1", "node2"});
  nodes.availability("node2", Availability::PAUSE);
  nodes.cluster.create(global());
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running");
  CHECK(nodes.row() == "global 1/1");
  CHECK(nodes.converged());
  nodes.availability("node2", Availability::ACTIVE);
  nodes.availability("node2", Availability::PAUSE);
  CHECK(nodes.where() == "node1:running node2:running");
  CHECK(nodes.row() == "global 2/2");
  CHECK(nodes.cluster.update(global("web:2")) == "");
  nodes.cluster.settle();
  CHECK(nodes.where("shutdown") == "node1:shutdown");
  CHECK(nodes.converged());
  nodes.availability("node2", Availability::ACTIVE);
  CHECK(nodes.where("shutdown") == "node1:shutdown node2:shutdown");
  CHECK(nodes.row() == "global 2/2");
  CHECK(nodes.converged());
}

TEST_CASE("global: constraints choose the nodes, and follow their labels", "[manager]") {
  Nodes nodes({"node1", "node2", "node3"});
  nodes.cluster.create(global("web:1", constraint("node.labels.disk==ssd")));
  nodes.cluster.settle();
  CHECK(nodes.where() == "");
  CHECK(nodes.row() == "global 0/0");
  CHECK(nodes.converged());
  CHECK(nodes.cluster.progress("web").getProgress().getProblem() ==
        "no suitable node (constraint node.labels.disk==ssd not met on 3 nodes)");
  nodes.label("node2", "ssd");
  nodes.label("node3", "ssd");
  CHECK(nodes.where() == "node2:running node3:running");
  CHECK(nodes.cluster.progress("web").getProgress().getProblem() == "");
  nodes.label("node2", "hdd");
  CHECK(nodes.where() == "node3:running");
  CHECK(nodes["node2"].running() == 0);
  CHECK(nodes.row() == "global 1/1");
  CHECK(nodes.converged());
  // Only what no longer fits ends.
  CHECK(nodes.cluster.update(global("web:1", constraint("node.labels.disk!=ssd"))) == "");
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running node2:running");
  CHECK(nodes.converged());
}

TEST_CASE("global: without any node it has converged, and says why nothing runs", "[manager]") {
  Nodes nodes({});
  nodes.cluster.create(global());
  nodes.cluster.settle();
  CHECK(nodes.row() == "global 0/0");
  CHECK(nodes.converged());
  CHECK(nodes.cluster.progress("web").getProgress().getProblem() ==
        "no suitable node (the cluster has no node yet)");
  nodes.add("node1").open();
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running");
}

TEST_CASE("global: a node without room for its task has it waiting, and no other takes it",
          "[manager]") {
  Nodes nodes({"node1"});
  auto& small = nodes.add("node2");
  small.memoryBytes = 1 << 20;
  small.open();
  nodes.cluster.create(global(
      "web:1", [](auto spec) { spec.getTask().initResources().setReserveMemoryBytes(8 << 20); }));
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running node2:pending");
  CHECK(small.tasks.empty());
  auto response = nodes.cluster.progress("web");
  CHECK(response.getProgress().getVerdict() == schema::Verdict::WORKING);
  CHECK(response.getProgress().getProblem() ==
        "task web.node2: no suitable node (insufficient memory on 1 node)");
  CHECK(nodes.row() == "global 1/2");
  SECTION("until it has room") {
    small.cut();
    small.memoryBytes = 16 << 20;
    small.open();
    nodes.cluster.settle();
    CHECK(nodes.where() == "node1:running node2:running");
    CHECK(nodes.converged());
  }
  SECTION("until the service is removed: it never had it") {
    auto id = nodes.cluster.remove("web");
    nodes.cluster.settle();
    CHECK(nodes.cluster.progress(id).getProgress().getVerdict() == schema::Verdict::GONE);
    CHECK(small.gone.empty());
  }
}

TEST_CASE("global: an update goes node by node, on a node that holds one of them too",
          "[manager]") {
  Nodes nodes({"node1", "node2", "node3"});
  auto tight = [](auto spec) {
    spec.getTask().initResources().setReserveMemoryBytes(10ull << 30);  // of 16
  };
  nodes.cluster.create(global("web:1", tight));
  nodes.cluster.settle();
  nodes["node1"].obeysStop = false;
  CHECK(nodes.cluster.update(global("web:2", tight)) == "");
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:pending node2:running node3:running");
  CHECK(nodes.verdict() == schema::Verdict::WORKING);
  nodes["node1"].obeysStop = true;
  std::string old = nodes.cluster.tasks("web", "shutdown").getTasks()[0].getMeta().getId().cStr();
  nodes["node1"].report(old, TaskState::SHUTDOWN);
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running node2:running node3:running");
  CHECK(nodes.where("shutdown") == "node1:shutdown node2:shutdown node3:shutdown");
  CHECK(nodes.converged());
  for (auto id : {"node1", "node2", "node3"}) CHECK(nodes[id].mostRunning == 1);
  auto forced = [&](auto spec) {
    tight(spec);
    spec.getTask().setForceUpdate(1);
  };
  CHECK(nodes.cluster.update(global("web:2", forced)) == "");
  nodes.cluster.settle();
  CHECK(nodes.cluster.tasks("web", "shutdown").getTasks().size() == 6);
  CHECK(nodes.converged());
}

TEST_CASE("global: a task that fails is started again on its node", "[manager]") {
  Nodes nodes({"node1", "node2"});
  nodes.cluster.create(global());
  nodes.cluster.settle();
  auto first = nodes["node2"].tasks.begin()->first;
  nodes["node2"].report(first, TaskState::FAILED, "task: non-zero exit (1)");
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running node2:running");
  CHECK(nodes.where("shutdown") == "node2:failed");
  nodes.cluster.stop();
  nodes.cluster.start();
  nodes.cluster.settle();
  CHECK(nodes.where() == "node1:running node2:running");
}

TEST_CASE("global: it is not scaled, and has no limit per node", "[manager]") {
  Nodes nodes({"node1"});
  nodes.cluster.create(global());
  auto scaled = attempt(nodes.cluster.scaleAsync("web", 2)).wait(nodes.cluster.world.waitScope());
  REQUIRE_FALSE(scaled.ok());
  CHECK(plainText(scaled.error()) ==
        "usage: only replicated services can be scaled: service 'web' is global, with one task on "
        "each node");
  auto limited =
      global("web:1", [](auto spec) { spec.getTask().initPlacement().setMaxReplicasPerNode(1); });
  CHECK(nodes.cluster.update(limited) ==
        "usage: --replicas-max-per-node is for replicated services: a global one has one task on "
        "each node");
}

}  // namespace
}  // namespace orch::control::manager
