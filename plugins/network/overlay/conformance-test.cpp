// The promises of networks that span hosts, kept by the plugin in this process, and by its own file
// in another one for each host.
#include <catch2/catch.hpp>

#include "host-test.h"
#include "orch/conformance/leg-conformance.h"
#include "orch/testing/plugin-module.h"

namespace orch::network::overlay {
namespace {

void keepsPromises(testing::Isolation isolation, bool ipv6 = false) {
  for (auto& check : conformance::legChecks()) {
    World world("conformance", 2, isolation, ipv6);
    INFO(check.name);
    CHECK_NOTHROW(check.run(world));
  }
}

TEST_CASE("overlay: keeps the promises of networks that span hosts", "[network][root][netns]") {
  keepsPromises(testing::Isolation::KERNEL);
}

TEST_CASE("overlay: keeps them by IPv6 as well", "[network][root][netns]") {
  keepsPromises(testing::Isolation::KERNEL, true);
}

TEST_CASE("overlay: keeps them in a process of its own, that is killed", "[network][root][netns]") {
  keepsPromises(testing::Isolation::PROCESS);
}

}  // namespace
}  // namespace orch::network::overlay
