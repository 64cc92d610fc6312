// Where tasks run by what runs there, and what is only wished for.
#include <catch2/catch.hpp>

#include <map>
#include <set>

#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using More = std::function<void(schema::ServiceSpec::Builder)>;
using Nodes = std::multiset<std::string>;

More filtered(std::vector<const char*> filters, std::vector<const char*> constraints = {}) {
  return [=](schema::ServiceSpec::Builder spec) {
    auto placement = spec.getTask().initPlacement();
    auto list = placement.initFilters(filters.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, filters[i]);
    auto texts = placement.initConstraints(constraints.size());
    for (uint32_t i = 0; i < texts.size(); ++i) texts.set(i, constraints[i]);
  };
}

struct AffinityCluster : TestCluster {
  explicit AffinityCluster(int count = 4) {
    start();
    for (int i = 1; i <= count; ++i) {
      nodes.push_back(&addNode("node" + std::to_string(i)));
      nodes.back()->open();
    }
    settle();
  }
  Nodes nodesOf(const std::string& service) {
    Nodes result;
    auto answer = tasks(service);
    for (auto task : answer.getTasks()) {
      if (task.getStatus().getState() == schema::TaskState::RUNNING) {
        result.insert(task.getNodeId().cStr());
      }
    }
    return result;
  }
  std::string errorOf(const std::string& service) {
    auto answer = tasks(service);
    for (auto task : answer.getTasks()) {
      if (task.getStatus().getError().size() > 0) return task.getStatus().getError().cStr();
    }
    return {};
  }
  std::vector<ScriptedNode*> nodes;
};

TEST_CASE("affinity: near a service, by name, image or label", "[manager]") {
  AffinityCluster cluster;
  cluster.create({"db", 1, "postgres:15", [](schema::ServiceSpec::Builder spec) {
                    auto label = spec.getTask().getContainer().initLabels(1)[0];
                    label.setKey("tier");
                    label.setValue("data");
                  }});
  cluster.settle();
  auto home = cluster.nodesOf("db");
  REQUIRE(home.size() == 1);
  for (auto term : {"affinity:service==db", "affinity:image==postgres",
                    "affinity:labels.tier==data", "affinity:service==d*"}) {
    INFO(term);
    cluster.create({"near", 3, "web:1", filtered({term})});
    cluster.settle();
    CHECK(cluster.nodesOf("near") == Nodes{*home.begin(), *home.begin(), *home.begin()});
    cluster.remove("near");
    auto other = std::string(term).replace(std::string(term).find("=="), 2, "!=");
    cluster.create({"away", 6, "web:1", filtered({other.c_str()})});
    cluster.settle();
    CHECK(cluster.nodesOf("away").size() == 6);
    CHECK(cluster.nodesOf("away").count(*home.begin()) == 0);
    cluster.remove("away");
    cluster.settle();
  }
}

TEST_CASE("affinity: away from itself is one on a node, also in one call", "[manager]") {
  AffinityCluster cluster;
  cluster.create({"web", 6, "web:1", filtered({"affinity:service!=web"})});
  cluster.settle();
  CHECK(cluster.nodesOf("web") == Nodes{"node1", "node2", "node3", "node4"});
  CHECK(cluster.errorOf("web") == "no suitable node (affinity service!=web not met on 4 nodes)");
  cluster.addNode("node5").open();
  cluster.settle();
  CHECK(cluster.nodesOf("web").size() == 5);
}

TEST_CASE("affinity: near itself goes where the first one went", "[manager]") {
  AffinityCluster cluster;
  cluster.create({"web", 5, "web:1", filtered({"affinity:service==web"})});
  cluster.settle();
  auto nodes = cluster.nodesOf("web");
  CHECK(nodes.size() == 5);
  CHECK(nodes.count(*nodes.begin()) == 5);
}

TEST_CASE("affinity: waits until there is somebody to be near", "[manager]") {
  AffinityCluster cluster;
  cluster.create({"web", 2, "web:1", filtered({"affinity:service==db"})});
  cluster.settle();
  CHECK(cluster.nodesOf("web").empty());
  CHECK(cluster.errorOf("web") == "no suitable node (affinity service==db not met on 4 nodes)");
  cluster.create({"db", 1, "db:1", filtered({}, {"node.id==node3"})});
  cluster.settle();
  CHECK(cluster.nodesOf("db") == Nodes{"node3"});
  CHECK(cluster.nodesOf("web") == Nodes{"node3", "node3"});
}

TEST_CASE("affinity: what runs stays when others come and go", "[manager]") {
  AffinityCluster cluster;
  cluster.create({"db", 1, "db:1", filtered({}, {"node.id==node3"})});
  cluster.settle();
  cluster.create({"web", 2, "web:1", filtered({"affinity:service==db"})});
  cluster.settle();
  cluster.remove("db");
  cluster.settle();
  CHECK(cluster.nodesOf("web") == Nodes{"node3", "node3"});
  cluster.scale("web", 3);
  cluster.settle();
  CHECK(cluster.nodesOf("web").size() == 2);
}

TEST_CASE("affinity: why a node is refused, and what to drop", "[manager]") {
  AffinityCluster cluster(2);
  cluster.create({"db", 1, "db:1", filtered({}, {"node.id==node2"})});
  cluster.create({"web", 1, "web:1", filtered({"affinity:service!=db"})});
  cluster.settle();
  auto request = cluster.control.whyRequest();
  request.setId("web");
  auto answer = request.send().wait(cluster.world.waitScope());
  auto second = answer.getAnswer().getNodes()[1];
  CHECK(second.getNode() == "host-node2");
  REQUIRE(second.getObstacles().size() == 1);
  CHECK(second.getObstacles()[0] == "affinity service!=db not met");
  CHECK(second.getRemedies()[0] == "drop affinity:service!=db");
}

TEST_CASE("wishes: the node that meets most weight, while it has room", "[manager]") {
  AffinityCluster cluster;
  auto roomy = filtered({"affinity:service==db ~ 2"},
                        {"node.id==node1 ~ 3", "node.id in (node1, node2) ~ 2"});
  cluster.create({"db", 1, "db:1", filtered({}, {"node.id==node2"})});
  cluster.settle();
  cluster.create({"web", 6, "web:1", [&](schema::ServiceSpec::Builder spec) {
                    roomy(spec);
                    spec.getTask().initResources().setReserveCpuNanos(4'000'000'000);
                  }});
  cluster.settle();
  // node1 weighs 5, node2 4; each has room for two.
  auto nodes = cluster.nodesOf("web");
  CHECK(nodes.size() == 6);
  CHECK(nodes.count("node1") == 2);
  CHECK(nodes.count("node2") == 2);
  cluster.scale("web", 2);
  cluster.settle();
  auto request = cluster.control.whyRequest();
  request.setId("web");
  auto answer = request.send().wait(cluster.world.waitScope());
  std::map<std::string, int64_t> unmet;
  for (auto node : answer.getAnswer().getNodes()) {
    for (auto term : node.getTerms()) {
      if (term.getName() == "weight of wishes not met")
        unmet[node.getNode().cStr()] = term.getValue();
    }
  }
  for (auto& [node, weight] : std::map<std::string, int64_t>{
           {"host-node1", 2}, {"host-node2", 3}, {"host-node3", 7}, {"host-node4", 7}}) {
    if (unmet.count(node) > 0) CHECK(unmet[node] == weight);
  }
  CHECK(unmet.size() >= 2);
}

TEST_CASE("wishes: what nobody meets keeps nothing from running", "[manager]") {
  AffinityCluster cluster(2);
  cluster.create(
      {"web", 4, "web:1", filtered({"affinity:service==nobody ~"}, {"node.labels.zone==z ~ 7"})});
  cluster.settle();
  CHECK(cluster.nodesOf("web") == Nodes{"node1", "node1", "node2", "node2"});
}

}  // namespace
}  // namespace orch::control::manager
