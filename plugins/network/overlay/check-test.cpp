// What the kernel has against the books: what somebody breaks from outside is found by name, and
// repaired.
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <netinet/in.h>

#include "host-test.h"
#include "ipvs-rules.h"
#include "ipvs.h"
#include "layout.h"
#include "lib/kernel-switch.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "nft-rules.h"

namespace orch::network::overlay {
namespace {

const Net RED{"red", 4097};
const Mate ONE{"red", "one", "web", "10.0.1.11", 0};
const Mate TWO{"red", "two", "web", "10.0.1.12", 1};
const Vip VIP{"red", "web", "10.0.1.2"};
constexpr Ipv4 TWOS_ADDRESS = (10u << 24) + 0x10c;
constexpr Ipv4 VIRTUAL = (10u << 24) + 0x102;
using Lines = std::vector<std::string>;

struct Fixture {
  explicit Fixture(kj::StringPtr name, bool ipv6 = false) : world(name, 2, ipv6) {
    world.tellAll({{RED}, {ONE, TWO}, {VIP}});
    world[0].plug("red", "one", "10.0.1.11");
    world[1].plug("red", "two", "10.0.1.12");
    REQUIRE(world[0].check() == Lines{});
    REQUIRE(world[0].checked > 10);
  }
  // On the first host, in the network's namespace.
  void inside(kj::FunctionParam<void()> work) {
    world[0].inside([&] { inNamespace(world[0].layout().pinOf("red").c_str(), work); });
  }
  // Only these things are found, again and again; then they are repaired, and none is left.
  void findsAndRepairs(const Lines& objects) {
    CHECK(world[0].check() == objects);
    CHECK(world[0].check() == objects);
    auto repaired = objects;
    for (auto& line : repaired) line += " repaired";
    CHECK(world[0].repair() == repaired);
    CHECK(world[0].check() == Lines{});
    CHECK(reaches(world.task("one"), world.task("two"), world.used("10.0.1.12")));
  }
  World world;
};

uint32_t indexOf(const char* name) {
  auto link = Rtnetlink().link(name);
  KJ_REQUIRE(link.has_value(), name);
  return link->index;
}

TEST_CASE("check: a forwarding entry that is gone is found and made again",
          "[network][root][netns]") {
  Fixture here("check-fdb");
  here.inside([] { Rtnetlink().run(deleteRemoteMac(indexOf(VXLAN), macOf(TWOS_ADDRESS))); });
  here.findsAndRepairs({"forwarding entry (host) of 10.0.1.12: 192.168.50.11, found nothing",
                        "forwarding entry (port) of 10.0.1.12: vxlan0, found nothing"});
}

TEST_CASE("check: a forwarding entry that leads to another host is found and led back",
          "[network][root][netns]") {
  Fixture here("check-host");
  here.inside([] {
    Rtnetlink().run(
        newRemoteMac({indexOf(VXLAN), macOf(TWOS_ADDRESS), *parseIpv4("192.168.50.77")}));
  });
  here.findsAndRepairs(
      {"forwarding entry (host) of 10.0.1.12: 192.168.50.11, found 192.168.50.77"});
}

TEST_CASE("check: what nobody asked for is found and taken away", "[network][root][netns]") {
  Fixture here("check-stray");
  here.inside([] {
    Rtnetlink net;
    net.run(newNeighbour(indexOf(BRIDGE), TWOS_ADDRESS + 1, macOf(TWOS_ADDRESS + 1)));
  });
  here.findsAndRepairs({"neighbour 10.0.1.13: nothing, found 02:42:0a:00:01:0d"});
}

TEST_CASE("check: a neighbour that is gone or another is found and made again",
          "[network][root][netns]") {
  Fixture here("check-neigh");
  here.inside([] { Rtnetlink().run(deleteNeighbour(indexOf(BRIDGE), TWOS_ADDRESS)); });
  here.findsAndRepairs({"neighbour 10.0.1.12: 02:42:0a:00:01:0c, found nothing"});
  here.inside([] { Rtnetlink().run(newNeighbour(indexOf(BRIDGE), TWOS_ADDRESS, macOf(1))); });
  here.findsAndRepairs({"neighbour 10.0.1.12: 02:42:0a:00:01:0c, found 02:42:00:00:00:01"});
}

TEST_CASE("check: a virtual address that is gone is found and given again",
          "[network][root][netns]") {
  Fixture here("check-vip");
  here.inside([] { Rtnetlink().run(deleteAddress(Address{LOOPBACK_INDEX, VIRTUAL, 32})); });
  here.findsAndRepairs({"virtual address 10.0.1.2: on lo, found nothing"});
}

TEST_CASE("check: an element of the balancer's maps that is gone is found and put in again",
          "[network][root][netns]") {
  Fixture here("check-map");
  if (here.world[0].layout().balancer != BalancerKind::NFT) return;
  here.inside([] {
    NftBytes key;
    key.address(VIRTUAL).mark(1);
    NftBatch(TABLE).deleteElement("backends", key).commit();
  });
  here.findsAndRepairs(
      {"table ip orch: element 10.0.1.2 . 1 of backends: 10.0.1.12, found nothing"});
  here.inside([] { NftBatch(TABLE).deleteRules("prerouting").commit(); });
  here.findsAndRepairs({"table ip orch: chain prerouting: 2 rules, found 0 rules"});
  here.inside([] { NftBatch(TABLE).deleteTable().commit(); });
  CHECK(here.world[0].check().size() > 8);
  CHECK(here.world[0].repair().size() > 8);
  CHECK(here.world[0].check() == Lines{});
}

TEST_CASE("check: of a network with IPv6 the second addresses and neighbours are found lacking",
          "[network][root][netns]") {
  Fixture here("check-ipv6", true);
  auto of = [](const char* text) { return *parseIpv6(text); };
  here.inside([&] {
    Rtnetlink net;
    auto bridge = indexOf(BRIDGE);
    net.run(deleteNeighbour(bridge, of("fd00:1::c")));
    net.run(newNeighbour(bridge, of("fd00:1::d"), macOf(TWOS_ADDRESS + 1)));
    net.run(deleteAddress(Address6{bridge, of("fd00:1::2"), 128}));
    net.run(deleteAddress(Address6{bridge, of("fd00:1::1"), 64}));
    switchTo(BRIDGE_FILTERS6, '0');
    switchTo(FORWARDS6, '0');
  });
  inNamespace(here.world.task("one").c_str(), [&] {
    Rtnetlink().run(deleteAddress(Address6{indexOf("eth1"), of("fd00:1::b"), 64}));
  });
  here.findsAndRepairs({"gateway's IPv6 address of br0: fd00:1::1/64, found nothing",
                        "neighbour fd00:1::c: 02:42:0a:00:01:0c, found nothing",
                        "neighbour fd00:1::d: nothing, found 02:42:0a:00:01:0d",
                        "IPv6 address of leg eth1 of task one: fd00:1::b/64, found nothing",
                        "virtual address fd00:1::2: on br0, found nothing",
                        "bridge-nf-call-ip6tables: on, found off",
                        "forwarding of IPv6: on, found off"});
  if (here.world[0].layout().balancer != BalancerKind::NFT) return;
  here.inside([] {
    NftBytes key;
    key.address(*parseIpv6("fd00:1::2")).mark(1);
    NftBatch(TABLE, NftFamily::IP6).deleteElement("backends", key).commit();
  });
  here.findsAndRepairs(
      {"table ip6 orch: element fd00:1::2 . 1 of backends: fd00:1::c, found nothing"});
}

TEST_CASE("check: a task that IPVS has lost is found and added again", "[network][root][netns]") {
  Fixture here("check-ipvs");
  if (here.world[0].layout().balancer != BalancerKind::IPVS) return;
  here.inside([] {
    Ipvs ipvs;
    std::vector<NetlinkMessage> messages;
    messages.push_back(ipvs.deleteDestination(markOf(VIRTUAL, IPPROTO_TCP), TWOS_ADDRESS));
    ipvs.run(messages);
  });
  here.findsAndRepairs({"IPVS task 10.0.1.12 of 10.0.1.2 tcp: weight 1, found nothing"});
  here.inside([] { NftBatch(TABLE, IPVS_FAMILY).deleteRules("prerouting").commit(); });
  here.findsAndRepairs({"table bridge orch: chain prerouting: 2 rules, found 0 rules"});
}

TEST_CASE("check: a port that is down or of no bridge is found and put back",
          "[network][root][netns]") {
  Fixture here("check-port");
  auto port = here.world[0].layout().portOf("one");
  here.inside([&] { Rtnetlink().run(linkDown(indexOf(port.c_str()))); });
  here.findsAndRepairs(
      {"port of task one: up, mtu 1450, port of br0, hairpin, found down, mtu "
       "1450, port of br0, hairpin"});
}

TEST_CASE("check: a leg without its address is found and gets it again", "[network][root][netns]") {
  Fixture here("check-leg");
  inNamespace(here.world.task("one").c_str(), [] {
    Rtnetlink().run(deleteAddress(Address{indexOf("eth1"), TWOS_ADDRESS - 1, 24}));
  });
  here.findsAndRepairs(
      {"leg eth1 of task one: up, 02:42:0a:00:01:0b, 10.0.1.11/24, found up, "
       "02:42:0a:00:01:0b, no address"});
}

TEST_CASE("check: a way out that somebody opened again is found and closed",
          "[network][root][netns]") {
  for (auto left : {WayOut::NONE, WayOut::ANSWERS}) {
    Fixture here("check-way-out");
    // The kernels that the tests have IPVS of have no nftables of the family ip.
    bool unable = here.world[0].layout().balancer == BalancerKind::IPVS && left != WayOut::NONE;
    if (unable) continue;
    here.world[0].connect("shut");
    here.world[0].plug("red", "shut", "10.0.1.21", "eth1", left);
    REQUIRE(here.world[0].check() == Lines{});
    inNamespace(here.world.task("shut").c_str(), [&] {
      if (left == WayOut::NONE) Rtnetlink().run(linkUp(indexOf(WAY_OUT_DEVICE)));
      if (left == WayOut::ANSWERS) NftBatch(CLOSED_TABLE).deleteRules("output").commit();
    });
    here.findsAndRepairs({"way out of task shut: closed, found open"});
  }
}

TEST_CASE("check: a VXLAN device that is gone is found and made again, with all ways by it",
          "[network][root][netns]") {
  Fixture here("check-vxlan");
  here.inside([] { Rtnetlink().run(deleteLink(indexOf(VXLAN))); });
  here.findsAndRepairs({"device vxlan0: up, mtu 1450, port of br0, found nothing",
                        "forwarding entry (host) of 10.0.1.12: 192.168.50.11, found nothing",
                        "forwarding entry (port) of 10.0.1.12: vxlan0, found nothing"});
}

TEST_CASE("check: who has a leg here is told, and other networks are not looked at",
          "[network][root][netns]") {
  Fixture here("check-members");
  CHECK(here.world[0].members == Lines{"red one"});
  here.inside([] { Rtnetlink().run(deleteNeighbour(indexOf(BRIDGE), TWOS_ADDRESS)); });
  CHECK(here.world[0].check("blue") == Lines{});
  CHECK(here.world[0].checked == 0);
  CHECK(here.world[0].check("red").size() == 1);
}

}  // namespace
}  // namespace orch::network::overlay
