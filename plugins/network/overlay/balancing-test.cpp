// The promises of virtual addresses, kept by the balancer that this kernel has, which is nftables'
// on most, and by IPVS in user-mode-linux (uml-test.py).
#include <catch2/catch.hpp>

#include "balancer.h"
#include "host-test.h"
#include "orch/conformance/leg-conformance.h"

namespace orch::network::overlay {
namespace {

void keepsBalancing(bool ipv6) {
  for (auto& check : conformance::balancingChecks()) {
    INFO(check.name);
    // IPVS takes what was put together from fragments of IPv6 for too large (README.md).
    bool fragments = std::string(check.name).find("larger than a packet") != std::string::npos;
    if (ipv6 && fragments && bestBalancer() == BalancerKind::IPVS) continue;
    World world("balancing", 2, ipv6);
    CHECK_NOTHROW(check.run(world));
  }
}

TEST_CASE("balancer: keeps the promises of virtual addresses", "[network][root][netns]") {
  keepsBalancing(false);
}

TEST_CASE("balancer: keeps those of virtual addresses of IPv6", "[network][root][netns]") {
  keepsBalancing(true);
}

}  // namespace
}  // namespace orch::network::overlay
