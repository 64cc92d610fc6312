// Volumes of all nodes, as `cluster` tells of them.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

struct VolumeFixture : TestCluster {
  VolumeFixture() {
    start();
    first = &addNode("node1");
    first->open();
    second = &addNode("node2");
    second->open();
    settle();
  }
  // "data@host-node1(web.1)", one after the other.
  std::string list() {
    auto answer = control.volumesRequest().send().wait(world.waitScope());
    std::string all;
    for (auto volume : answer.getVolumes()) {
      all += (all.empty() ? "" : " ") + std::string(volume.getName().cStr()) + "@" +
             volume.getNode().cStr();
      for (auto user : volume.getUsedBy()) all += "(" + std::string(user.cStr()) + ")";
    }
    for (auto text : answer.getMissing()) all += " missing " + std::string(text.cStr());
    return all;
  }
  std::string remove(const char* name) {
    auto request = control.removeVolumeRequest();
    request.setName(name);
    auto outcome = attempt(request.send()).wait(world.waitScope());
    return outcome.ok() ? outcome.value().getNodes()[0].cStr() : plainText(outcome.error()).cStr();
  }
  ScriptedNode* first;
  ScriptedNode* second;
};

TEST_CASE("volumes: those of all nodes, with the names of the tasks that use them", "[manager]") {
  VolumeFixture cluster;
  CHECK(cluster.list() == "");
  cluster.create({"web", 1});
  cluster.settle();
  auto& holder = cluster.first->tasks.empty() ? *cluster.second : *cluster.first;
  holder.volumes["data"] = holder.tasks.begin()->first;
  cluster.second->volumes["old"] = "";
  auto list = cluster.list();
  CHECK_THAT(list, Catch::Contains("data@host-node") && Catch::Contains("(web.1)"));
  CHECK_THAT(list, Catch::Contains("old@host-node2"));
}

TEST_CASE("volumes: one that is used stays, and one that is nowhere is told", "[manager]") {
  VolumeFixture cluster;
  cluster.first->volumes["data"] = "someone";
  cluster.second->volumes["old"] = "";
  CHECK(cluster.remove("data") ==
        "cannot remove the volume 'data' on node host-node1: a task uses it");
  CHECK(cluster.remove("old") == "host-node2");
  CHECK(cluster.remove("old") == "no volume 'old'; see 'orch volume ls'");
  CHECK(cluster.remove("") == "usage: the name of a volume is needed");
  cluster.second->volumes["more"] = "";
  auto pruned = cluster.control.pruneVolumesRequest().send().wait(cluster.world.waitScope());
  REQUIRE(pruned.getRemoved().size() == 1);
  CHECK(pruned.getRemoved()[0].getName() == "more");
  CHECK(cluster.list() == "data@host-node1(someone)");
}

TEST_CASE("volumes: a node that is away is missing, and nothing is said to be removed",
          "[manager]") {
  VolumeFixture cluster;
  cluster.first->volumes["data"] = "";
  cluster.second->cut();
  cluster.settle();
  CHECK_THAT(cluster.list(), Catch::Contains("data@host-node1 missing host-node2: "));
  CHECK_THAT(cluster.remove("data"), Catch::Contains("on node host-node2: "));
}

}  // namespace
}  // namespace orch::control::manager
