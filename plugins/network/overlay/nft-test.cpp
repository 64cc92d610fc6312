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

TEST_CASE("balancer: who stays behind a virtual address keeps its turn", "[network]") {
  Backends four{1, 2, 3, 4};
  CHECK(keepPlaces({}, {}, four) == four);
  CHECK(keepPlaces(four, four, four) == four);
  auto three = keepPlaces(four, four, {1, 3, 4});
  CHECK(three == Backends{1, 4, 3});
  CHECK(keepPlaces(three, {1, 3, 4}, {1, 2, 3, 4}) == Backends{1, 4, 3, 2});
  CHECK(keepPlaces(three, {1, 3, 4}, {1, 3, 5}) == Backends{1, 5, 3});
  CHECK(keepPlaces(three, {1, 3, 4}, {1, {3, 2}, 4}) == Backends{1, 4, {3, 2}});
  CHECK(keepPlaces(four, four, {2}) == Backends{2});
  CHECK(keepPlaces(four, four, {}) == Backends{});
}

}  // namespace
}  // namespace orch::network::overlay
