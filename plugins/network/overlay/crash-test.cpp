// Runs that ended anywhere: what the next one makes of it.
#include <catch2/catch.hpp>
#include <errno.h>

#include <filesystem>

#include "host-test.h"
#include "lib/netns.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "sandbox.h"

namespace orch::network::overlay {
namespace {

constexpr int MOST_STEPS = 100;
const News NEWS{{{"red", 4097}},
                {{"red", "one", "web", "10.0.1.11", 0}, {"red", "two", "web", "10.0.1.12", 1}},
                {{"red", "web", "10.0.1.2"}}};

// Ends a run after so many of its steps, as a kill would: nothing that is tried afterwards happens.
struct Kill {
  explicit Kill(int after) : left(after) {}
  void operator()() {
    if (left-- <= 0) fail(kj::str("killed"));
  }
  int left;
};

SandboxChange changeOf(World& world) {
  SandboxChange change;
  change.facts = NetworkFacts{*parseSubnet("10.0.1.0/24"), *parseIpv4("10.0.1.1"), 4097, 1450};
  if (world.ipv6) {
    Ipv6Twins twins{change.facts->subnet, *parseSubnet6("fd00:1::/64")};
    change.facts->ipv6 = Ipv6Facts{twins, *parseIpv6("fd00:1::1"), 64};
  }
  change.host = *parseIpv4("192.168.50.10");
  change.complete = change.balancing.complete = true;
  change.plugs = {{"red", "one", world.task("one"), "eth1", *parseIpv4("10.0.1.11"), 24}};
  change.remotes[*parseIpv4("10.0.1.12")] = *parseIpv4("192.168.50.11");
  change.balancing.services[*parseIpv4("10.0.1.2")] = Backends{*parseIpv4("10.0.1.11")};
  return change;
}

void checkNothingLeft(World& world) {
  CHECK(std::filesystem::is_empty(world[0].layout().pins()));
  CHECK(std::filesystem::is_empty(world[0].layout().records()));
  world[0].inside([] {
    Rtnetlink net;
    net.run(newVxlan({"probe", {4097, *parseIpv4("192.168.50.10"), 4789}, 1450, -1}));
    net.run(deleteLink(net.link("probe")->index));
  });
}

// All that a plug does, until it is killed; true if it was not.
bool plugUntil(World& world, int steps) {
  Kill kill(steps);
  Applied applied;
  auto outcome = attemptNow([&] {
    world[0].inside([&] {
      Sandbox sandbox(world[0].layout(), "red", [&] { kill(); });
      applied = sandbox.apply(changeOf(world));
    });
  });
  return outcome.ok() && applied.refused.empty();
}

TEST_CASE("overlay: a run that ended after any step of a plug leaves nothing, or is taken over",
          "[network][root][netns]") {
  World world("plug-killed", 2, GENERATE(false, true));
  world[1].tell(NEWS);
  world[1].plug("red", "two", "10.0.1.12");
  for (int steps = 0;; ++steps) {
    INFO("killed after " << steps << " steps");
    REQUIRE(steps < MOST_STEPS);
    world[0].crash();
    bool whole = plugUntil(world, steps);
    world[0].run();
    if (steps % 2 == 0) {  // the agent wants the task no more
      world[0].retain({});
      checkNothingLeft(world);
      world[0].tell(NEWS);
    } else {
      world[0].tell(NEWS);
      world[0].retain({"one"});
    }
    world[0].plug("red", "one", "10.0.1.11");
    CHECK(reaches(world.task("one"), world.task("two"), world.used("10.0.1.12")));
    world[0].unplug("red", "one");
    checkNothingLeft(world);
    if (whole) break;
  }
}

TEST_CASE("overlay: a run that ended after any step of the last unplug leaves nothing",
          "[network][root][netns]") {
  World world("unplug-killed", 1);
  for (int steps = 0;; ++steps) {
    INFO("killed after " << steps << " steps");
    REQUIRE(steps < MOST_STEPS);
    world[0].tell(NEWS);
    world[0].plug("red", "one", "10.0.1.11");
    world[0].crash();
    Kill kill(steps);
    bool whole =
        attemptNow([&] {
          world[0].inside([&] {
            Sandbox::remove(world[0].layout(), "red", changeOf(world).plugs, [&] { kill(); });
          });
        }).ok();
    world[0].run();
    world[0].retain({});
    checkNothingLeft(world);
    if (whole) break;
  }
}

TEST_CASE("overlay: what a run left goes on, and the next one keeps it", "[network][root][netns]") {
  World world("kept", 2);
  world.tellAll(NEWS);
  world[0].plug("red", "one", "10.0.1.11");
  world[0].plug("red", "three", "10.0.1.13");
  world[1].plug("red", "two", "10.0.1.12");
  auto server = serverIn(world.task("two"), 80);
  // Of two turns one is its own, where nobody listens.
  auto client = socketIn(world.task("one")), other = socketIn(world.task("one"));
  bool first = connectTo(client, "10.0.1.2", 80) == 0;
  REQUIRE(connectTo(other, "10.0.1.2", 80) == (first ? ECONNREFUSED : 0));
  if (!first) client = kj::mv(other);
  auto peer = acceptFrom(server);
  world[0].crash();
  CHECK(talk(client, peer.fd));
  world[0].run();
  world[0].retain({"one"});
  CHECK(talk(client, peer.fd));
  world[0].tell(NEWS);
  CHECK(talk(client, peer.fd));
  CHECK(world[0].warnings().empty());
  inNamespace(world[0].layout().pinOf("red").c_str(), [] {
    for (auto& link : Rtnetlink().links()) CHECK(link.name != Layout::portOf("three"));
  });
}

TEST_CASE("overlay: a leg whose task's namespace went meanwhile is given up",
          "[network][root][netns]") {
  World world("lost", 1);
  world[0].tell(NEWS);
  world[0].plug("red", "one", "10.0.1.11");
  world[0].crash();
  world.endTask("one");
  world[0].run();
  world[0].tell(NEWS);
  world[0].retain({"one"});
  checkNothingLeft(world);
  REQUIRE(world[0].warnings().size() == 1);
  CHECK(world[0].warnings()[0] == "warn network.leg-lost");
}

}  // namespace
}  // namespace orch::network::overlay
