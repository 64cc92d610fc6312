// What nodes count or name beside cores and memory: who has how much of it, and who does not get
// it.
#include <catch2/catch.hpp>

#include <random>
#include <set>

#include "orch/attempt.h"
#include "orch/generic-resources.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using Names = std::vector<std::string>;

struct Has {
  std::string kind;
  uint64_t amount;
  Names names = {};
};

std::function<void(schema::NodeDescription::Builder)> having(std::vector<Has> all) {
  return [all](schema::NodeDescription::Builder description) {
    auto list = description.initGeneric(all.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setKind(all[i].kind.c_str());
      list[i].setAmount(all[i].names.empty() ? all[i].amount : all[i].names.size());
      auto names = list[i].initNames(all[i].names.size());
      for (uint32_t k = 0; k < names.size(); ++k) names.set(k, all[i].names[k].c_str());
    }
  };
}

void want(schema::ServiceSpec::Builder spec, const std::vector<Has>& all) {
  auto list = spec.getTask().getResources().initGeneric(all.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setKind(all[i].kind.c_str());
    list[i].setAmount(all[i].amount);
  }
}

Spec wanting(const char* name, uint32_t replicas, std::vector<Has> all,
             std::function<void(schema::ServiceSpec::Builder)> more = {}) {
  return {name, replicas, "web:1", [=](schema::ServiceSpec::Builder spec) {
            want(spec, all);
            if (more) more(spec);
          }};
}

struct GpuCluster : TestCluster {
  explicit GpuCluster(uint64_t seed = testing::testSeed()) : TestCluster(1000, seed) { start(); }
  ScriptedNode& join(const char* id, std::vector<Has> all) {
    auto& node = addNode(id);
    node.describes = having(all);
    node.open();
    settle();
    return node;
  }
  // Comes back with other things than it had.
  void again(ScriptedNode& node, std::vector<Has> all) {
    node.close(false);
    node.describes = having(all);
    node.open();
    settle();
  }
  void make(const Spec& spec) {
    create(spec);
    settle();
  }
  static std::string valueOf(schema::GenericResource::Reader one) {
    auto text = environmentText(one);
    return text.slice(kj::StringPtr("DOCKER_RESOURCE_").size()).cStr();
  }
  // "1 node1 GPU=A | 2 -": tasks that are wanted, or those that are not.
  std::string placed(const char* service, const char* desired = "running") {
    auto answer = tasks(service, desired);
    std::string result;
    for (auto task : answer.getTasks()) {
      result += result.empty() ? "" : " | ";
      result += std::to_string(task.getSlot()) + " ";
      result += task.getNodeId().size() == 0 ? "-" : task.getNodeId().cStr();
      for (auto one : task.getGeneric()) result += " " + valueOf(one);
    }
    return result;
  }
  std::string problem(const char* service) {
    return progress(service).getProgress().getProblem().cStr();
  }
  // "host-node1: obstacle -> remedy; …" of one node.
  std::string why(const char* id, const char* node) {
    auto request = control.whyRequest();
    request.setId(id);
    auto response = request.send().wait(world.waitScope());
    std::string result;
    for (auto one : response.getAnswer().getNodes()) {
      if (one.getNode() != node) continue;
      for (uint32_t i = 0; i < one.getObstacles().size(); ++i) {
        result += result.empty() ? "" : "; ";
        result += kj::str(one.getObstacles()[i], " -> ", one.getRemedies()[i]).cStr();
      }
    }
    return result;
  }
  // What the node says that it has, and what of it is in use: "GPU=A,B: GPU=A".
  std::string use(const char* id) {
    auto request = control.nodeRequest();
    request.setId(id);
    auto response = request.send().wait(world.waitScope());
    std::string result;
    for (auto one : response.getNode().getDescription().getGeneric()) result += valueOf(one);
    result += ":";
    for (auto one : response.getNode().getGenericInUse()) result += " " + valueOf(one);
    return result;
  }
  // No name is two tasks', and no node's tasks have more than it has.
  void checkShares() {
    std::map<std::string, std::map<std::string, uint64_t>> amounts;
    std::map<std::string, std::set<std::string>> names;
    auto response = control.tasksRequest().send().wait(world.waitScope());
    for (auto task : response.getTasks()) {
      bool over = task.getStatus().getState() >= TaskState::COMPLETE;
      if (over || task.getNodeId().size() == 0) continue;
      std::string node = task.getNodeId().cStr();
      for (auto one : task.getGeneric()) {
        amounts[node][one.getKind().cStr()] += one.getAmount();
        if (one.getNames().size() > 0) CHECK(one.getNames().size() == one.getAmount());
        for (auto name : one.getNames()) {
          CHECK(names[node].insert(kj::str(one.getKind(), "=", name).cStr()).second);
        }
      }
    }
    auto nodes = control.nodesRequest().send().wait(world.waitScope());
    for (auto node : nodes.getNodes()) {
      for (auto& [kind, amount] : amounts[node.getMeta().getId().cStr()]) {
        CHECK(amount <= amountOf(node.getDescription().getGeneric(), kind));
      }
    }
  }
};

TEST_CASE("generic resources: tasks have those of a set by name, and none is two tasks'",
          "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 0, {"A", "B", "C"}}});
  cluster.make(wanting("web", 1, {{"gpu", 2}}));
  cluster.make(wanting("other", 2, {{"gpu", 1}}));
  CHECK(cluster.placed("web") == "1 node1 GPU=A,B");
  CHECK(cluster.placed("other") == "1 node1 GPU=C | 2 -");
  CHECK(cluster.problem("other") == "task other.2: no suitable node (insufficient gpu on 1 node)");
  CHECK(cluster.use("node1") == "GPU=A,B,C: GPU=A,B,C");
  cluster.remove("web");
  cluster.settle();
  CHECK(cluster.placed("other") == "1 node1 GPU=C | 2 node1 GPU=A");
  CHECK(cluster.use("node1") == "GPU=A,B,C: GPU=A,C");
}

TEST_CASE("generic resources: of what has no names a task is told how many it has", "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 5}, {"licence", 1}});
  cluster.make(wanting("web", 3, {{"gpu", 2}}));
  CHECK(cluster.placed("web") == "1 node1 GPU=2 | 2 node1 GPU=2 | 3 -");
  CHECK(cluster.why("web.3", "host-node1") ==
        "insufficient gpu: 2 wanted, 1 free -> free 1 gpu on host-node1");
  cluster.make(wanting("both", 1, {{"gpu", 1}, {"licence", 1}}));
  CHECK(cluster.placed("both") == "1 node1 GPU=1 LICENCE=1");
  cluster.make(wanting("more", 1, {{"gpu", 1}, {"licence", 1}}));
  CHECK(cluster.why("more.1", "host-node1") ==
        "insufficient gpu: 1 wanted, 0 free -> free 1 gpu on host-node1; "
        "insufficient licence: 1 wanted, 0 free -> free 1 licence on host-node1");
}

TEST_CASE("generic resources: many tasks at once go where there is enough for each", "[manager]") {
  struct Row {
    std::vector<uint64_t> nodes;  // how many of them each has
    uint64_t wanted;
    uint32_t replicas;
    uint32_t placed;
  };
  const Row ROWS[] = {
      {{4, 1, 0}, 1, 10, 5}, {{4, 4, 4}, 3, 10, 3},          {{7, 2, 5}, 2, 10, 6},
      {{1, 1, 1}, 2, 4, 0},  {{1'000'000}, 1'000'000, 2, 1}, {{3, 3}, 1, 4, 4},
  };
  for (auto& row : ROWS) {
    CAPTURE(row.nodes, row.wanted);
    GpuCluster cluster;
    uint32_t next = 0;
    for (auto amount : row.nodes) {
      auto name = "node" + std::to_string(++next);
      cluster.join(name.c_str(),
                   amount == 0 ? std::vector<Has>{} : std::vector<Has>{{"gpu", amount}});
    }
    cluster.make(wanting("web", row.replicas, {{"gpu", row.wanted}}));
    cluster.checkShares();
    auto answer = cluster.tasks("web");
    uint32_t placed = 0;
    for (auto task : answer.getTasks()) placed += task.getNodeId().size() > 0;
    CHECK(placed == row.placed);
  }
}

TEST_CASE("generic resources: they are had until the task has ended, however long that takes",
          "[manager]") {
  GpuCluster cluster;
  auto& node = cluster.join("node1", {{"gpu", 0, {"A"}}});
  node.obeysStop = false;
  cluster.make(wanting("web", 1, {{"gpu", 1}}));
  cluster.scale("web", 0);
  cluster.make(wanting("other", 1, {{"gpu", 1}}));
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.placed("other") == "1 -");
  auto old = node.tasks.begin()->first;
  node.report(old, TaskState::SHUTDOWN);
  cluster.settle();
  CHECK(cluster.placed("other") == "1 node1 GPU=A");
}

TEST_CASE("generic resources: what runs on a node that is away still has its own", "[manager]") {
  GpuCluster cluster;
  auto& first = cluster.join("node1", {{"gpu", 0, {"A"}}});
  cluster.make(wanting("web", 1, {{"gpu", 1}}));
  cluster.join("node2", {{"gpu", 0, {"B"}}});
  first.cut();
  cluster.advance(30 * kj::SECONDS);
  CHECK(cluster.placed("web") == "1 node2 GPU=B");
  cluster.make(wanting("other", 1, {{"gpu", 1}}));
  CHECK(cluster.placed("other") == "1 -");
  CHECK(cluster.use("node1") == "GPU=A: GPU=A");
  first.obeysStop = false;
  first.open();
  cluster.settle();
  CHECK(cluster.placed("other") == "1 -");
  first.report(first.tasks.begin()->first, TaskState::SHUTDOWN);
  cluster.settle();
  CHECK(cluster.placed("other") == "1 node1 GPU=A");
}

TEST_CASE("generic resources: a node that comes back with less keeps its tasks and gets no more",
          "[manager]") {
  GpuCluster cluster;
  auto& node = cluster.join("node1", {{"gpu", 0, {"A", "B", "C"}}});
  cluster.make(wanting("web", 2, {{"gpu", 1}}));
  cluster.again(node, {{"gpu", 0, {"C"}}});
  CHECK(cluster.placed("web") == "1 node1 GPU=A | 2 node1 GPU=B");
  CHECK(cluster.states("web") == "running running");
  cluster.make(wanting("other", 1, {{"gpu", 1}}));
  CHECK(cluster.placed("other") == "1 -");
  CHECK(cluster.why("other.1", "host-node1") ==
        "insufficient gpu: 1 wanted, 0 free; its tasks have 2 of 1 -> free 2 gpu on host-node1");
  cluster.scale("web", 1);
  cluster.settle();
  CHECK(cluster.placed("other") == "1 -");
  cluster.scale("web", 0);
  cluster.settle();
  CHECK(cluster.placed("other") == "1 node1 GPU=C");
  cluster.again(node, {});
  CHECK(cluster.states("other") == "running");
  cluster.make(wanting("third", 1, {{"gpu", 2}}));
  CHECK(cluster.why("third.1", "host-node1") ==
        "has no gpu -> give host-node1 gpu = 2 under [node] resources, if it has as many");
}

TEST_CASE("generic resources: a set that was a count gives no name to what is counted",
          "[manager]") {
  GpuCluster cluster;
  auto& node = cluster.join("node1", {{"gpu", 3}});
  cluster.make(wanting("web", 1, {{"gpu", 1}}));
  CHECK(cluster.placed("web") == "1 node1 GPU=1");
  cluster.again(node, {{"gpu", 0, {"A", "B"}}});
  cluster.make(wanting("other", 2, {{"gpu", 1}}));
  CHECK(cluster.placed("other") == "1 node1 GPU=A | 2 -");
  cluster.again(node, {{"gpu", 2}});
  CHECK(cluster.placed("other") == "1 node1 GPU=A | 2 -");
  cluster.checkShares();
}

TEST_CASE("generic resources: what no node has is accepted with a warning, and waited for",
          "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 1}});
  auto warningOf = [&](const char* name, std::vector<Has> all) {
    auto request = cluster.control.createServiceRequest();
    request.setRequestId(name);
    auto spec = request.initSpec();
    spec.setName(name);
    spec.getMode().initReplicated();
    spec.initTask().initContainer().setImage("web");
    want(spec, all);
    auto response = request.send().wait(cluster.world.waitScope());
    cluster.settle();
    return std::string(response.getWarnings().size() == 1 ? response.getWarnings()[0].cStr() : "");
  };
  CHECK(warningOf("fpga", {{"fpga", 1}}) ==
        "no node has any fpga under [node] resources; the tasks wait");
  CHECK(warningOf("two", {{"gpu", 2}}) ==
        "no node has more than 1 gpu under [node] resources; the tasks wait");
  CHECK(warningOf("one", {{"gpu", 1}}) == "");
  CHECK(cluster.problem("fpga") == "task fpga.1: no suitable node (insufficient fpga on 1 node)");
  cluster.join("node2", {{"fpga", 1}, {"gpu", 2}});
  CHECK(cluster.placed("fpga") == "1 node2 FPGA=1");
  CHECK(cluster.placed("two") == "1 node2 GPU=2");
}

TEST_CASE("generic resources: the task of a global service waits for its own node's", "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 0, {"A"}}});
  cluster.join("node2", {{"gpu", 0, {"B"}}});
  cluster.make(wanting("first", 1, {{"gpu", 1}}, [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().initConstraints(1).set(0, "node.id==node2");
  }));
  cluster.make(wanting("each", 1, {{"gpu", 1}},
                       [](schema::ServiceSpec::Builder spec) { spec.getMode().setGlobal(); }));
  CHECK(cluster.states("each") == "running pending");
  CHECK_THAT(cluster.problem("each"), Catch::Contains("insufficient gpu on 1 node"));
  cluster.remove("first");
  cluster.settle();
  CHECK(cluster.placed("each") == "0 node1 GPU=A | 0 node2 GPU=B");
}

TEST_CASE("generic resources: a task that replaces another gets what that one had", "[manager]") {
  GpuCluster cluster;
  auto& node = cluster.join("node1", {{"gpu", 0, {"A", "B"}}});
  cluster.make(wanting("web", 2, {{"gpu", 1}}));
  auto failing = node.tasks.begin()->first;
  node.report(failing, TaskState::FAILED, "gone");
  cluster.advance(1 * kj::SECONDS);
  CHECK(cluster.states("web") == "running running");
  cluster.checkShares();
  auto renewed = wanting("web", 2, {{"gpu", 1}});
  renewed.image = "web:2";
  cluster.update(renewed);
  cluster.advance(60 * kj::SECONDS);
  CHECK(cluster.states("web") == "running running");
  cluster.checkShares();
}

TEST_CASE("generic resources: start-first waits for what the old task has, and says so",
          "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 0, {"A"}}});
  auto startFirst = [](schema::ServiceSpec::Builder spec) {
    spec.initUpdate().setOrder(schema::UpdateConfig::Order::START_FIRST);
  };
  auto spec = wanting("web", 1, {{"gpu", 1}}, startFirst);
  cluster.make(spec);
  spec.image = "web:2";
  cluster.update(spec);
  cluster.settle();
  CHECK_THAT(cluster.problem("web"),
             Catch::Contains("insufficient gpu on 1 node") &&
                 Catch::Contains("only the task that it replaces is in the way"));
}

TEST_CASE("generic resources: a manager that starts again knows who has what", "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 0, {"A", "B"}}});
  cluster.make(wanting("web", 1, {{"gpu", 1}}));
  cluster.stop();
  cluster.start();
  auto& node = cluster.addNode("node1");
  node.describes = having({{"gpu", 0, {"A", "B"}}});
  node.open();
  cluster.settle();
  cluster.make(wanting("other", 2, {{"gpu", 1}}));
  CHECK(cluster.placed("web") == "1 node1 GPU=A");
  CHECK(cluster.placed("other") == "1 node1 GPU=B | 2 -");
}

TEST_CASE("generic resources: a plan places as what it plans does, and says what is left",
          "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 0, {"A", "B", "C"}}});
  cluster.join("node2", {{"gpu", 1}});
  cluster.make(wanting("web", 1, {{"gpu", 1}}));
  auto request = cluster.control.planRequest();
  auto scale = request.initChanges(1)[0].initScale();
  scale.setService("web");
  scale.setReplicas(6);
  auto response = request.send().wait(cluster.world.waitScope());
  std::multiset<std::string> planned, done;
  std::vector<std::string> reasons;
  for (auto step : response.getPlan().getSteps()) {
    if (step.getAction() == schema::PlannedStep::Action::WAIT) {
      reasons.push_back(step.getReason().cStr());
      continue;
    }
    planned.insert(kj::str(step.getSlot(), " on ", step.getNode()).cStr());
  }
  CHECK(reasons == std::vector<std::string>(2, "no suitable node (insufficient gpu on 2 nodes)"));
  for (auto node : response.getPlan().getNodes()) {
    CHECK(node.getFreeGeneric()[0].getAmount() == 0);
    CHECK(node.getGeneric()[0].getAmount() == (node.getNode() == "host-node1" ? 3 : 1));
  }
  auto before = cluster.tasks("web");
  cluster.scale("web", 6);
  cluster.settle();
  auto after = cluster.tasks("web");
  for (auto task : after.getTasks()) {
    if (task.getNodeId().size() == 0 ||
        task.getMeta().getId() == before.getTasks()[0].getMeta().getId()) {
      continue;
    }
    done.insert(kj::str(task.getSlot(), " on host-", task.getNodeId()).cStr());
  }
  CHECK(planned == done);
}

TEST_CASE("generic resources: tasks are moved only where there is enough", "[manager]") {
  GpuCluster cluster;
  std::set<std::string> made;
  cluster.store.observe([&](kj::ArrayPtr<const testing::MemoryStore::Written> batch) {
    for (auto& entry : batch) {
      if (entry.kind == "task") made.insert(entry.key.cStr());
    }
  });
  cluster.join("node1", {{"gpu", 8}});
  cluster.make(wanting("web", 6, {{"gpu", 1}}));
  auto request = cluster.control.updateClusterRequest();
  request.setRequestId("even");
  auto terms = request.initChange().getRebalance().initSet();
  terms.setMax(4);
  terms.setEveryMs(1000);
  request.send().wait(cluster.world.waitScope());
  cluster.join("node2", {{"gpu", 1}});
  cluster.advance(60 * kj::SECONDS);
  cluster.checkShares();
  auto answer = cluster.tasks("web");
  uint32_t moved = 0;
  for (auto task : answer.getTasks()) moved += task.getNodeId() == "node2";
  CHECK(moved == 1);
  CHECK(made.size() == 7);  // and none was begun in vain
  CHECK(cluster.states("web") == "running running running running running running");
}

TEST_CASE("generic resources: what a service must not say is refused in a line", "[manager]") {
  GpuCluster cluster;
  cluster.join("node1", {{"gpu", 4}});
  auto refusal = [&](std::vector<Has> all) {
    auto outcome = cluster.createError(wanting("web", 1, all));
    CHECK(cluster.control.servicesRequest()
              .send()
              .wait(cluster.world.waitScope())
              .getServices()
              .size() == 0);
    return outcome;
  };
  CHECK(refusal({{"gpu", 0}}) == "usage: --generic-resource gpu must be from 1 to 1000000, not 0");
  CHECK(refusal({{"gpu", 1'000'001}}) ==
        "usage: --generic-resource gpu must be from 1 to 1000000, not 1000001");
  CHECK_THAT(refusal({{"", 1}}), Catch::StartsWith("usage: --generic-resource '' is no kind"));
  CHECK_THAT(refusal({{"a b", 1}}),
             Catch::StartsWith("usage: --generic-resource 'a b' is no kind"));
  CHECK(refusal({{"gpu", 1}, {"gpu", 2}}) ==
        "usage: --generic-resource gpu is there twice; write each kind once");
  std::vector<Has> many;
  for (int i = 0; i < 65; ++i) many.push_back({"k" + std::to_string(i), 1});
  CHECK(refusal(many) == "usage: --generic-resource has 65 kinds, at most 64");
  auto named = cluster.createError({"web", 1, "web:1", [](schema::ServiceSpec::Builder spec) {
                                      want(spec, {{"gpu", 1}});
                                      auto one = spec.getTask().getResources().getGeneric()[0];
                                      one.initNames(1).set(0, "A");
                                    }});
  CHECK(named == "usage: --generic-resource gpu: a service says how many it wants, not which");
}

TEST_CASE("generic resources: a node that describes them as no manifest can is refused",
          "[manager]") {
  const std::vector<Has> WRONG[] = {{{"gpu", 0}},
                                    {{"", 1}},
                                    {{"gpu", 1}, {"gpu", 2}},
                                    {{"gpu", 0, {"A", "A"}}},
                                    {{"gpu", 0, {""}}},
                                    {{"gpu", 0, {"A,B"}}},
                                    {{"gpu", 2'000'000}}};
  for (auto& wrong : WRONG) {
    GpuCluster cluster;
    auto request = cluster.dispatcher.openRequest();
    request.setNodeId("node1");
    having(wrong)(request.initDescription());
    auto outcome = attemptNow([&] { request.send().wait(cluster.world.waitScope()); });
    REQUIRE_FALSE(outcome.ok());
    CHECK(outcome.message() == "usage: node 'node1' describes its resources as no manifest can");
  }
}

}  // namespace
}  // namespace orch::control::manager
