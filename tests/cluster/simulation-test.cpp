#include <catch2/catch.hpp>

#include "simulated-node.h"

namespace orch {
namespace {

using testing::SimulatedNode;
using testing::TestFolder;
using testing::VirtualWorld;

TEST_CASE("simulation: a service converges, scales and is healed", "[simulation]") {
  TestFolder folder("simulation");
  VirtualWorld world(testing::testSeed());
  SimulatedNode node(world, folder);
  node.createService("web", 3, {"SIM_RUN=60m"});
  world.advance(5 * kj::SECONDS);
  CHECK(node.running("web") == 3);
  node.scale("web", 7);
  world.advance(5 * kj::SECONDS);
  CHECK(node.running("web") == 7);
  node.scale("web", 2);
  world.advance(5 * kj::SECONDS);
  CHECK(node.running("web") == 2);
  world.advance(1 * kj::HOURS + 60 * kj::SECONDS);  // all of them end once
  CHECK(node.running("web") == 2);
}

TEST_CASE("simulation: a task that keeps failing is backed off, not restarted in a loop",
          "[simulation]") {
  TestFolder folder("simulation-backoff");
  VirtualWorld world(testing::testSeed());
  SimulatedNode node(world, folder);
  node.createService("crash", 1, {"SIM_RUN=1ms", "SIM_EXIT=1"});
  world.advance(120 * kj::SECONDS);
  auto tasks = node.cluster().tasksRequest().send().wait(world.waitScope());
  uint32_t restarts = 0;
  for (auto task : tasks.getTasks()) restarts = kj::max(restarts, task.getRestarts());
  // 0, 0.1, 0.2, … 25.6 s, then every 30 s: about a dozen within two minutes.
  CHECK(restarts >= 5);
  CHECK(restarts <= 14);
}

// An hour in the life of a node, and what its event log says of it.
kj::Array<kj::byte> hourOf(uint64_t seed) {
  TestFolder folder("simulation-seed");
  VirtualWorld world(seed);
  SimulatedNode node(world, folder);
  node.createService("steady", 3, {"SIM_RUN=17m"});
  node.createService("flaky", 2, {"SIM_RUN=90s", "SIM_EXIT=3"});
  for (int minute = 0; minute < 60; ++minute) {
    if (world.env().random() % 5 == 0) node.scale("steady", 1 + world.env().random() % 6);
    world.advance(60 * kj::SECONDS);
  }
  return node.eventLog();
}

TEST_CASE("simulation: the same seed gives the same event log to the byte", "[simulation]") {
  auto seed = testing::testSeed();
  auto one = hourOf(seed), two = hourOf(seed), other = hourOf(seed + 1);
  REQUIRE(one.size() > 0);
  REQUIRE(one.size() == two.size());
  CHECK(memcmp(one.begin(), two.begin(), one.size()) == 0);
  bool same = one.size() == other.size() && memcmp(one.begin(), other.begin(), one.size()) == 0;
  CHECK_FALSE(same);
}

}  // namespace
}  // namespace orch
