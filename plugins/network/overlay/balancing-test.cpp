// The promises of virtual addresses, kept by the balancer that this kernel has, which is nftables'
// on most, and by IPVS in user-mode-linux (uml-test.py).
#include <catch2/catch.hpp>

#include "host-test.h"
#include "orch/conformance/leg-conformance.h"

namespace orch::network::overlay {
namespace {

TEST_CASE("balancer: keeps the promises of virtual addresses", "[network][root][netns]") {
  for (auto& check : conformance::balancingChecks()) {
    World world("balancing", 2);
    INFO(check.name);
    CHECK_NOTHROW(check.run(world));
  }
}

}  // namespace
}  // namespace orch::network::overlay
