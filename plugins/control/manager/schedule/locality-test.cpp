// Of equal nodes those come first that have the image already.
#include <catch2/catch.hpp>

#include <set>

#include "test-cluster.h"

namespace orch::control::manager {
namespace {

const std::string DIGEST = "sha256:" + std::string(64, 'a');
using NodesById = std::map<std::string, ScriptedNode*>;

struct LocalityCluster : TestCluster {
  LocalityCluster() {
    start();
    for (auto id : {"node1", "node2", "node3"}) {
      nodes[id] = &addNode(id);
      nodes[id]->open();
    }
    settle();
  }
  // NodesById of its tasks, by slot.
  std::vector<std::string> make(const char* name, uint32_t replicas) {
    create({name, replicas, "web:1", [](schema::ServiceSpec::Builder spec) {
              spec.getTask().getContainer().setImageDigest(DIGEST.c_str());
            }});
    settle();
    std::vector<std::string> result;
    auto answer = tasks(name);
    for (auto task : answer.getTasks()) result.push_back(task.getNodeId().cStr());
    return result;
  }
  // "host-node1: 0" of the term, by node; empty if there is none.
  std::map<std::string, int64_t> missing(const char* id) {
    auto request = control.whyRequest();
    request.setId(id);
    auto response = request.send().wait(world.waitScope());
    std::map<std::string, int64_t> result;
    for (auto node : response.getAnswer().getNodes()) {
      REQUIRE(node.getTerms().size() > 0);
      auto last = node.getTerms()[node.getTerms().size() - 1];
      if (last.getName() == "image missing") result[node.getNode().cStr()] = last.getValue();
    }
    return result;
  }
  NodesById nodes;
};

TEST_CASE("locality: of equal nodes the one that has the image, after the strategy's own terms",
          "[manager]") {
  for (auto has : {"node1", "node2", "node3"}) {
    CAPTURE(has);
    LocalityCluster cluster;
    cluster.nodes[has]->offer({{DIGEST, {}}});
    CHECK(cluster.make("a", 1)[0] == has);
    // The others have fewer tasks now, which comes before.
    CHECK(cluster.make("b", 1)[0] != has);
    CHECK(cluster.make("c", 1)[0] != has);
    auto many = cluster.make("many", 3);
    CHECK(many[0] == has);
    CHECK(std::set<std::string>(many.begin(), many.end()).size() == 3);
    auto terms = cluster.missing("a.1");
    REQUIRE(terms.size() == 3);
    for (auto& [node, value] : terms) {
      CHECK(value == (node == std::string("host-") + has ? 0 : 1));
    }
  }
}

TEST_CASE("locality: what nobody has, or says, is no term", "[manager]") {
  LocalityCluster cluster;
  cluster.make("a", 1);
  CHECK(cluster.missing("a.1").empty());
  cluster.nodes["node2"]->offer({{DIGEST, {}}});
  CHECK(cluster.missing("a.1").size() == 3);
  cluster.nodes["node2"]->close(false);
  CHECK(cluster.missing("a.1").empty());
}

TEST_CASE("locality: a plan knows it, too", "[manager]") {
  LocalityCluster cluster;
  cluster.nodes["node2"]->offer({{DIGEST, {}}});
  auto request = cluster.control.planRequest();
  auto spec = request.initChanges(1)[0].initCreate();
  spec.setName("web");
  spec.getMode().initReplicated().setReplicas(1);
  spec.initTask().initContainer().setImage("web:1");
  spec.getTask().getContainer().setImageDigest(DIGEST.c_str());
  auto response = request.send().wait(cluster.world.waitScope());
  REQUIRE(response.getPlan().getSteps().size() == 1);
  CHECK(response.getPlan().getSteps()[0].getNode() == "host-node2");
  CHECK(cluster.make("web", 1)[0] == "node2");
}

}  // namespace
}  // namespace orch::control::manager
