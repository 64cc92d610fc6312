// Tasks with IPv6 on their node's own network.
#include <catch2/catch.hpp>
#include <kj/debug.h>

#include "lib/kernel-switch.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "node-test.h"

namespace orch::network::bridge {
namespace {

using Lines = std::vector<std::string>;

TEST_CASE("network: a task reaches the gateway, others and other hosts by IPv6",
          "[network][root][netns]") {
  TestNode node("six");
  node.run();
  OtherHost other(node.folder());
  auto one = node.attach("one");
  auto two = node.attach("two");
  CHECK(one.address6 == "fd6f:7263:6800::2");
  CHECK(two.address6 == "fd6f:7263:6800::3");
  CHECK(reaches(one.path, "", "fd6f:7263:6800::1"));
  CHECK(reaches("", two.path, two.address6));
  CHECK(reaches(one.path, two.path, two.address6));
  auto server = serverIn(other.path(), 80, false, true);
  auto client = socketIn(one.path, false, true);
  REQUIRE(connectTo(client, OTHER_ADDRESS6, 80) == 0);
  REQUIRE(readyOf({server}) == 0);
  auto peer = acceptFrom(server);
  CHECK(peer.address == NODE_ADDRESS6);
  CHECK(talk(client, peer.fd));
  // Nobody outside begins a connection to a task.
  inNamespace(other.path().c_str(), [] {
    Rtnetlink net;
    net.run(newDefaultRoute(net.link("wire")->index, *parseIpv6(NODE_ADDRESS6)));
  });
  auto task = serverIn(one.path, 81, true, true);
  auto stranger = socketIn(other.path(), true, true);
  REQUIRE(connectTo(stranger, one.address6, 81) == 0);
  REQUIRE(send(stranger, "hello", 5, 0) == 5);
  auto friendly = socketIn("", true, true);
  REQUIRE(connectTo(friendly, one.address6, 81) == 0);
  auto asked = askUdp(friendly, {task});
  CHECK(asked.address == "fd6f:7263:6800::1");  // the first that came
}

TEST_CASE("network: hosts that hear of routers do so when IPv6 is passed on",
          "[network][root][netns]") {
  TestNode node("six-routers");
  OtherHost other(node.folder());
  REQUIRE(isOn("/proc/sys/net/ipv6/conf/wire/accept_ra"));
  node.run();
  CHECK(isOn("/proc/sys/net/ipv6/conf/all/forwarding"));
  CHECK(isIn("/proc/sys/net/ipv6/conf/wire/accept_ra", '2'));
  auto one = node.attach("one");
  inNamespace(one.path.c_str(), [] { CHECK(isIn("/proc/sys/net/ipv6/conf/eth0/accept_ra", '0')); });
}

TEST_CASE("network: what a task has of IPv6 is found lacking, and given again",
          "[network][root][netns]") {
  TestNode node("six-check");
  node.run();
  auto one = node.attach("one");
  REQUIRE(node.check() == Lines{});
  Rtnetlink net;
  auto bridge = net.link("orch0")->index;
  net.run(deleteNeighbour(bridge, *parseIpv6("fd6f:7263:6800::2")));
  net.run(deleteAddress(Address6{bridge, *parseIpv6("fd6f:7263:6800::1"), 64}));
  inNamespace(one.path.c_str(), [] {
    Rtnetlink inside;
    auto leg = inside.link("eth0")->index;
    inside.run(deleteAddress(Address6{leg, *parseIpv6("fd6f:7263:6800::2"), 64}));
  });
  NftBatch("orch", NftFamily::IP6).deleteRules("forward").commit();
  Lines lacking{"gateway's address fd6f:7263:6800::1: present, found nothing",
                "table ip6 orch: chain forward: 1 rule, found 0 rules",
                "neighbour fd6f:7263:6800::2: present, found nothing",
                "IPv6 address of eth0 of task one: fd6f:7263:6800::2, found nothing"};
  CHECK(node.check() == lacking);
  for (auto& line : lacking) line += " repaired";
  CHECK(node.repair() == lacking);
  CHECK(node.check() == Lines{});
  CHECK(reaches("", one.path, one.address6));
}

TEST_CASE("network: a task of before has IPv6 once its node has, and nothing of it stays",
          "[network][root][netns]") {
  TestNode node("six-kept");
  node.run();
  auto one = node.attach("one");
  node.crash();
  inNamespace(one.path.c_str(), [] {
    Rtnetlink inside;
    auto leg = inside.link("eth0")->index;
    inside.run(deleteAddress(Address6{leg, *parseIpv6("fd6f:7263:6800::2"), 64}));
  });
  node.run();
  node.retain({"one"});
  CHECK(reaches("", one.path, one.address6));
  node.detach("one");
  CHECK(Rtnetlink().permanentNeighbours6().empty());
  node.stop();
  CHECK_FALSE(nftTableExists("orch", NftFamily::IP6));
}

}  // namespace
}  // namespace orch::network::bridge
