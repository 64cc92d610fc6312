// What the balancers of this plugin have beside what every one has to keep (balancing-test.cpp):
// weights, and no work where nothing changed.
#include <catch2/catch.hpp>

#include "host-test.h"
#include "ipvs-balancer.h"
#include "lib/netns.h"
#include "nft-balancer.h"
#include "orch/testing/test-host.h"

namespace orch::network::overlay {
namespace {

constexpr Ipv4 GATEWAY = (10u << 24) + 0x101;

TEST_CASE("balancer: who has more weight gets more of the connections", "[network][root][netns]") {
  World world("weights", 2);
  conformance::ServiceTeam team(world, "red", 4097, 3);
  world.tellAll(team.everybody());
  team.join();
  std::vector<Ipv4> servers;
  for (int i = 0; i < 3; ++i) servers.push_back(*parseIpv4(team.addressOf(i).c_str()));
  BalancerChange change;
  change.gateway = GATEWAY;
  change.complete = true;
  auto apply = [&](Balancer& balancer, std::vector<uint32_t> weights) {
    Backends backends;
    for (int i = 0; i < 3; ++i) backends.push_back({servers[i], weights[i]});
    change.services[*parseIpv4(team.VIP)] = backends;
    CHECK(balancer.apply(change) == "");
    change.complete = false;
  };
  kj::Own<Balancer> balancer;
  inNamespace(world[0].layout().pinOf("red").c_str(),
              [&] { balancer = newBalancer(world[0].layout().balancer); });
  apply(*balancer, {3, 2, 1});
  CHECK(team.connectMany(60) == std::vector<int>{30, 20, 10, 0});
  apply(*balancer, {0, 2, 2});
  CHECK(team.connectMany(60) == std::vector<int>{0, 30, 30, 0});
  apply(*balancer, {1, 0, 0});
  CHECK(team.connectMany(6) == std::vector<int>{6, 0, 0, 0});
  CHECK(team.askMany(6) == std::vector<int>{6, 0, 0, 0});
}

TEST_CASE("balancer: what went while no orchd was there is nobody's any more",
          "[network][root][netns]") {
  World world("away", 2);
  conformance::ServiceTeam team(world, "red", 4097, 3);
  world.tellAll(team.everybody());
  team.join();
  // Led to the second, by TCP, and to the second and the third, by UDP.
  std::vector<kj::AutoCloseFd> clients(3);
  Accepted peer;
  for (int turn = -1; turn != 1;) {
    clients[0] = socketIn(team.clientPath());
    REQUIRE(connectTo(clients[0], team.VIP, 80) == 0);
    turn = readyOf(team.listening());
    REQUIRE(turn >= 0);
    peer = acceptFrom(team.listening()[turn]);
  }
  for (int wanted : {1, 2}) {
    for (int turn = -1; turn != wanted;) {
      clients[wanted] = socketIn(team.clientPath(), true);
      REQUIRE(connectTo(clients[wanted], team.VIP, 53) == 0);
      turn = askUdp(clients[wanted], team.answering()).server;
      REQUIRE(turn >= 0);
    }
  }
  world[0].crash();
  auto news = team.news({true, true, false});
  news.peers.erase(news.peers.begin() + 2);  // after the client and the first
  world[1].tell(news);
  world[1].unplug("red", team.serverId(1));
  world[0].run();
  world[0].tell(news);
  world[0].retain({"red-client", team.serverId(0), team.serverId(2)});
  send(clients[0], "hello", 5, MSG_NOSIGNAL);
  REQUIRE(readyOf({clients[0]}) == 0);
  char text[8];
  CHECK(recv(clients[0], text, sizeof(text), 0) < 0);
  CHECK(errno == ECONNRESET);
  for (int i : {1, 2}) CHECK(askUdp(clients[i], team.answering()).server == 0);
}

TEST_CASE("balancer: what is so already changes nothing, and what somebody changed is so again",
          "[network][root][netns]") {
  testing::TestFolder folder("overlay-balancer");
  auto pin = folder.sub("netns");
  makeNamespace(pin).inside->run(linkUp(LOOPBACK_INDEX));
  inNamespace(pin, [] {
    constexpr Ipv4 NET = 10u << 24;
    auto kind = bestBalancer();
    auto balancer = newBalancer(kind);
    BalancerChange change;
    change.complete = true;
    change.gateway = GATEWAY;
    change.services[NET + 100] = Backends{1, 2, 3};
    change.services[NET + 200] = Backends{};
    change.locals[1] = true;
    CHECK(balancer->apply(change) == "");
    CHECK(balancer->transactions() == 1);
    change.complete = false;
    balancer->apply(change);
    CHECK(balancer->transactions() == 1);
    change.services[NET + 100] = Backends{1, 3};
    change.services[NET + 200] = std::nullopt;
    balancer->apply(change);
    CHECK(balancer->transactions() == 2);
    CHECK(Rtnetlink().addresses().size() == 2);  // 127.0.0.1, and the one that is left
    // Another run takes over what stands there.
    auto next = newBalancer(kind);
    change.complete = true;
    change.services = {{NET + 201, Backends{4}}};
    CHECK(next->apply(change) == "");
    CHECK(Rtnetlink().addresses().size() == 2);
    // Somebody takes all of it away.
    if (kind == BalancerKind::IPVS) IpvsBalancer::removeAll();
    if (kind == BalancerKind::NFT) NftBalancer::removeAll();
    BalancerChange small;
    small.gateway = GATEWAY;
    small.services[NET + 201] = Backends{4, 5};
    CHECK(next->apply(small) == "");
    auto before = next->transactions();
    CHECK(next->apply(small) == "");
    CHECK(next->transactions() == before);
    if (kind != BalancerKind::IPVS) return;
    auto table = Ipvs().table();
    REQUIRE(table.size() == 2);  // of TCP and of UDP
    for (auto& [mark, service] : table) {
      CHECK(service.scheduling.scheduler == "rr");
      CHECK(service.destinations.size() == 2);
    }
    // Who is gone leaves nothing, nor does the last.
    small.services = {};
    small.gone = {4};
    CHECK(next->apply(small) == "");
    for (auto& [mark, service] : Ipvs().table()) CHECK(service.destinations.count(4) == 0);
    small.gone = {};
    small.services[NET + 201] = std::nullopt;
    CHECK(next->apply(small) == "");
    CHECK(Ipvs().table().empty());
  });
  dropPin(pin);
}

TEST_CASE("balancer: a balancer that there is not is refused", "[network][root][netns]") {
  World world("setting", 1);
  world[0].crash();
  auto refusal = [&](const char* balancer) { return errorOf([&] { world[0].run(balancer); }); };
  CHECK(refusal("iptables") == "'balancer' cannot be 'iptables': it must be auto, ipvs or nft");
  auto ipvs = refusal("ipvs");
  if (bestBalancer() == BalancerKind::IPVS) {
    CHECK(ipvs == "");
  } else {
    CHECK(ipvs ==
          "'balancer' cannot be 'ipvs': this kernel has no IPVS, or its module is not loaded "
          "(`modprobe ip_vs`); set 'auto' or 'nft'");
  }
}

}  // namespace
}  // namespace orch::network::overlay
