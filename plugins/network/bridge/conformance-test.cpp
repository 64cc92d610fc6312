// The promises of the kind, kept by the plugin in this process, and by its own file in another one.
#include <catch2/catch.hpp>

#include "node-test.h"
#include "orch/conformance/network-conformance.h"
#include "orch/testing/plugin-module.h"

namespace orch::network::bridge {
namespace {

TEST_CASE("network: keeps the promises of a network driver in both isolations",
          "[network][root][netns]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  for (auto& check : conformance::networkChecks()) {
    TestNode node("conformance", "172.30.5.0/28", isolation);
    node.run();
    INFO(check.name);
    CHECK_NOTHROW(check.run(node));
  }
}

}  // namespace
}  // namespace orch::network::bridge
