// What only the balancer by nftables has: one table, changed in whole transactions.
#include <catch2/catch.hpp>

#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "nft-balancer.h"
#include "nft-rules.h"
#include "orch/testing/test-host.h"

namespace orch::network::overlay {
namespace {

TEST_CASE("balancer: nftables has a chain per service that somebody serves, and no other",
          "[network][root][netns]") {
  testing::TestFolder folder("overlay-nft");
  auto pin = folder.sub("netns");
  makeNamespace(pin).inside->run(linkUp(LOOPBACK_INDEX));
  inNamespace(pin, [] {
    constexpr Ipv4 NET = 10u << 24;
    NftBalancer balancer;
    BalancerChange change;
    change.complete = true;
    change.services[NET + 100] = Backends{1, 2, 3};
    change.services[NET + 200] = Backends{};
    change.services[NET + 201] = Backends{{1, 0}};
    CHECK(balancer.apply(change) == "");
    NetlinkSocket socket(NETLINK_NETFILTER);
    CHECK(nftChains(socket, TABLE).size() == 3);
    // Another run takes over what stands there.
    NftBalancer next;
    change.services = {{NET + 202, Backends{4}}};
    CHECK(next.apply(change) == "");
    CHECK(nftChains(socket, TABLE).size() == 3);
    NftBalancer::removeAll();
    CHECK_FALSE(nftTableExists(TABLE));
  });
  dropPin(pin);
}

}  // namespace
}  // namespace orch::network::overlay
