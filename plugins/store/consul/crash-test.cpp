// Servers are killed, stopped and started again under the plugin, and the plugin itself is.
#include <catch2/catch.hpp>

#include "lib/testing/crash-cases.h"
#include "test-store.h"

namespace orch::store::consul {
namespace {

TEST_CASE("store.consul: over crashes", "[store][consul]") {
  for (auto& one : CRASH_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

// What the plugin had asked for is done after its process is gone, and known to the next one.
TEST_CASE("store.consul: a plugin that is killed before its answer has committed all the same",
          "[store][consul]") {
  OneNode<Backend> all("client-killed");
  auto& loop = all.loop;
  auto& node = all.node;
  http::TestRelay relay(loop.io, all.servers.port());
  node.options.endpoints = {relay.url()};
  node.options.isolation = testing::Isolation::PROCESS;
  conformance::Bench bench(node);
  uint64_t first = bench.mustCommit("first", {change("a")});
  relay.holdRequests();
  auto pending = attempt(bench.send("second", {change("b"), change("a", first)})).promise();
  testing::until(*loop.env, loop.scope, "the request on its way", [&] { return relay.holds(); });
  node.running().file().kill(loop.scope);
  CHECK(!pending.wait(loop.scope).ok());
  testing::until(*loop.env, loop.scope, "its connection to end", [&] { return relay.held() >= 1; });
  relay.passHeld().wait(loop.scope);
  node.options.endpoints = all.servers.urls();
  node.abandon();
  bench.reopen();
  uint64_t second = bench.find("second");
  CHECK(second > first);
  auto state = bench.load();
  CHECK(state.revision == second);
  CHECK((state.objects.size() == 2 && state.objects[{"task", "a"}].revision == second));
  auto again = bench.commit("second", {change("b"), change("a", first)});
  CHECK(again.kind == conformance::Answer::REFUSED);
  CHECK(again.reason.find("batch 'second' was applied already") == 0);
}

}  // namespace
}  // namespace orch::store::consul
