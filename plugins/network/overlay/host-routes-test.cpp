// What a host says of its routes.
#include "host-routes.h"

#include <catch2/catch.hpp>

#include "host-test.h"
#include "lib/netns.h"
#include "lib/rtnetlink.h"

namespace orch::network::overlay {
namespace {

using Routes = std::vector<std::string>;

void addTo(OneHost& host, const char* device, const char* address, uint8_t prefix) {
  host.inside([&] {
    Rtnetlink net;
    net.run(newAddress(net.link(device)->index, *parseIpv4(address), prefix));
  });
}

TEST_CASE("routes: a host says what it reaches and has, without what orch made",
          "[network][root][netns]") {
  World world("routes", 1);
  CHECK(world[0].routes() == Routes{"192.168.50.0/24"});
  addTo(world[0], "wire", "10.7.1.1", 16);
  addTo(world[0], "wire", "10.7.9.1", 24);  // within the one before
  addTo(world[0], "lo", "10.9.0.7", 32);
  world[0].inside([] {
    Rtnetlink net;
    net.run(newBridge("orch0", macOf(1), 1500));
    auto bridge = net.link("orch0")->index;
    net.run(setAlias(bridge, "orch network.bridge"),
            newAddress(bridge, *parseIpv4("172.30.0.1"), 16));
    net.run(newDefaultRoute(net.link("wire")->index, *parseIpv4("192.168.50.1")));
  });
  CHECK(world[0].routes() == Routes{"10.7.0.0/16", "10.9.0.7/32", "192.168.50.0/24"});
  // Nor are networks and tasks of this plugin among them.
  world[0].tell({{{"red", 4097}}});
  world[0].plug("red", "one", "10.0.1.11");
  CHECK(world[0].routes().size() == 3);
}

TEST_CASE("routes: those of IPv6 are told as well, without a link's own",
          "[network][root][netns]") {
  World world("routes6", 1);
  world[0].routes();
  world[0].inside([] {
    Rtnetlink net;
    net.run(newAddress(net.link("wire")->index, *parseIpv6("fd77:1::1"), 48));
    net.run(newAddress(LOOPBACK_INDEX, *parseIpv6("fd78::7"), 128));
  });
  world[0].awaitEvents("routes.changed", 1);
  CHECK(world[0].routes() == Routes{"192.168.50.0/24", "fd77:1::/48", "fd78::7/128"});
}

TEST_CASE("routes: a host that has other ones than it said tells of it, and else nothing",
          "[network][root][netns]") {
  World world("routes-changed", 1);
  addTo(world[0], "wire", "10.5.0.1", 24);  // nobody has asked yet
  CHECK(world[0].routes() == Routes{"10.5.0.0/24", "192.168.50.0/24"});
  addTo(world[0], "wire", "10.7.0.1", 24);
  world[0].awaitEvents("routes.changed", 1);
  CHECK(world[0].routes().size() == 3);
  addTo(world[0], "wire", "10.7.0.2", 24);  // which says nothing new
  addTo(world[0], "wire", "10.8.0.1", 24);
  world[0].awaitEvents("routes.changed", 2);
}

TEST_CASE("routes: of a host with very many the widest are told", "[network][root][netns]") {
  World world("routes-many", 1);
  world[0].inside([] {
    Rtnetlink net;
    auto lo = LOOPBACK_INDEX;
    std::vector<NetlinkMessage> messages;
    for (Ipv4 i = 0; i < MOST_ROUTES + 10; ++i) {
      messages.push_back(newAddress(lo, (10u << 24) + 2 * i, 32));
    }
    net.runAll(messages);
  });
  auto routes = world[0].routes();
  CHECK(routes.size() == MOST_ROUTES);
  CHECK(std::count(routes.begin(), routes.end(), "192.168.50.0/24") == 1);
}

}  // namespace
}  // namespace orch::network::overlay
