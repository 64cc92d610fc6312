// Answers are lost, late, or do not come: what was done is found out.
#include <catch2/catch.hpp>

#include "lib/testing/crash-cases.h"
#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

TEST_CASE("store.zookeeper: in doubt", "[store][zookeeper]") {
  for (auto& one : DOUBT_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

TEST_CASE("store.zookeeper: an election whose answer was lost is known to be won",
          "[store][zookeeper]") {
  OneNode<Backend> all("lost-election");
  TestRelay relay(all.loop.io, all.servers.port());
  all.node.options.endpoints = {relay.endpoint()};
  conformance::Bench bench(all.node);
  REQUIRE(bench.elect("me", 0).wait(all.loop.scope).won);
  // The answer to the change itself, after the one to the question before it.
  relay.loseAnswersAfter(3, 1);
  auto again = bench.elect("me", 1).wait(all.loop.scope);
  CHECK((again.won && again.epoch == 2));
}

}  // namespace
}  // namespace orch::store::zookeeper
