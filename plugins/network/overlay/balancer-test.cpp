// More of what every balancer has to keep: even turns, weights, restarts, networks apart.
#include <catch2/catch.hpp>
#include <errno.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "host-test.h"
#include "ipvs-balancer.h"
#include "lib/netns.h"
#include "nft-balancer.h"
#include "orch/testing/test-host.h"

namespace orch::network::overlay {
namespace {

constexpr const char* VIP = "10.0.1.2";
constexpr const char* CLIENT = "10.0.1.10";
constexpr Ipv4 GATEWAY = (10u << 24) + 0x101;

std::string addressOf(int server) { return "10.0.1.2" + std::to_string(server); }

// A client on host 0 and servers of one service on both hosts in turn, in some network.
struct Team {
  Team(World& world, const char* network, uint32_t vni, int count)
      : world(world), network(network), vni(vni), names(count) {
    for (int i = 0; i < count; ++i) names[i] = std::string(network) + "-web" + std::to_string(i);
  }
  News news(std::vector<bool> serving, bool withService = true) const {
    News told{{{network, vni}}, {{network, client(), "client", CLIENT, 0}}};
    for (size_t i = 0; i < names.size(); ++i) {
      told.peers.push_back({network, names[i], "web", addressOf(i), int(i % 2), serving[i]});
    }
    if (withService) told.services.push_back({network, "web", VIP});
    return told;
  }
  void join() {
    world[0].plug(network, client(), CLIENT);
    for (size_t i = 0; i < names.size(); ++i) {
      world[i % 2].plug(network, names[i], addressOf(i));
      tcp.push_back(serverIn(world.task(names[i]), 80));
      udp.push_back(serverIn(world.task(names[i]), 53, true));
    }
  }
  std::string client() const { return std::string(network) + "-client"; }
  static std::vector<int> of(const std::vector<kj::AutoCloseFd>& servers) {
    std::vector<int> fds;
    for (auto& server : servers) fds.push_back(server.get());
    return fds;
  }
  // Of the client, `use`d one by one. Made some at a time: to enter a namespace takes a thread.
  void withSockets(int count, bool isUdp, kj::FunctionParam<void(int, int)> use) {
    constexpr int AT_A_TIME = 200;
    for (int done = 0; done < count;) {
      std::vector<kj::AutoCloseFd> some(std::min(AT_A_TIME, count - done));
      inNamespace(world.task(client()).c_str(), [&] {
        for (auto& socket : some) socket = socketIn("", isUdp);
      });
      for (auto& socket : some) use(socket, done++);
    }
  }
  // How many of so many new connections each got; the last: those with which something was wrong.
  std::vector<int> connectMany(int count) {
    std::vector<int> got(names.size() + 1);
    withSockets(count, false, [&](int socket, int) {
      int turn = connectTo(socket, VIP, 80) == 0 ? readyOf(of(tcp)) : -1;
      bool good = turn >= 0 && acceptFrom(tcp[turn]).address == CLIENT;
      ++got[good ? turn : names.size()];
    });
    return got;
  }
  // The same for UDP, each time from a port that was not used before.
  std::vector<int> askMany(int count) {
    constexpr uint16_t FIRST_PORT = 10'000;
    std::vector<int> got(names.size() + 1);
    withSockets(count, true, [&](int socket, int index) {
      auto own = socketAddressOf("0.0.0.0", FIRST_PORT + index);
      KJ_SYSCALL(bind(socket, reinterpret_cast<sockaddr*>(&own), sizeof(own)));
      connectTo(socket, VIP, 53);
      auto asked = askUdp(socket, of(udp));
      bool good = asked.server >= 0 && asked.address == CLIENT;
      ++got[good ? asked.server : names.size()];
    });
    return got;
  }

  World& world;
  const char* network;
  uint32_t vni;
  std::vector<std::string> names;
  std::vector<kj::AutoCloseFd> tcp;
  std::vector<kj::AutoCloseFd> udp;
};

const std::vector<bool> ALL(10, true);

TEST_CASE("balancer: six thousand connections are a thousand for each of six",
          "[network][root][netns]") {
  World world("even", 2);
  Team team(world, "red", 4097, 6);
  world.tellAll(team.news(ALL));
  team.join();
  const std::vector<int> even{1000, 1000, 1000, 1000, 1000, 1000, 0};
  CHECK(team.connectMany(6000) == even);
  CHECK(team.askMany(6000) == even);
}

TEST_CASE("balancer: a task reaches itself and others by its service's address, TCP and UDP",
          "[network][root][netns]") {
  World world("itself", 2);
  Team team(world, "red", 4097, 2);
  world.tellAll(team.news(ALL));
  team.join();
  auto own = world.task(team.names[0]);
  for (int i = 0; i < 4; ++i) {
    auto socket = socketIn(own);
    REQUIRE(connectTo(socket, VIP, 80) == 0);
    int turn = readyOf(Team::of(team.tcp));
    REQUIRE(turn >= 0);
    auto peer = acceptFrom(team.tcp[turn]);
    CHECK(peer.address == (turn == 0 ? "10.0.1.1" : addressOf(0)));
    CHECK(talk(socket, peer.fd));
    auto asking = socketIn(own, true);
    REQUIRE(connectTo(asking, VIP, 53) == 0);
    auto asked = askUdp(asking, Team::of(team.udp));
    REQUIRE(asked.server >= 0);
    CHECK(asked.address == (asked.server == 0 ? "10.0.1.1" : addressOf(0)));
  }
  // The gateway is still itself for who has reached himself.
  CHECK(connectTo(socketIn(own), "10.0.1.1", 80) == ECONNREFUSED);
}

TEST_CASE("balancer: a message larger than a packet comes whole, there and back",
          "[network][root][netns]") {
  World world("large", 2);
  Team team(world, "red", 4097, 2);
  world.tellAll(team.news(ALL));
  team.join();
  std::string large(4000, 'x');
  for (int i = 0; i < 2; ++i) {
    auto socket = socketIn(world.task(team.client()), true);
    REQUIRE(connectTo(socket, VIP, 53) == 0);
    REQUIRE(send(socket, large.data(), large.size(), 0) == ssize_t(large.size()));
    int turn = readyOf(Team::of(team.udp));
    REQUIRE(turn >= 0);
    char got[5000];
    sockaddr_in from = {};
    socklen_t size = sizeof(from);
    auto* peer = reinterpret_cast<sockaddr*>(&from);
    REQUIRE(recvfrom(team.udp[turn], got, sizeof(got), 0, peer, &size) == ssize_t(large.size()));
    REQUIRE(sendto(team.udp[turn], got, large.size(), 0, peer, size) == ssize_t(large.size()));
    REQUIRE(readyOf({socket}) == 0);
    CHECK(recv(socket, got, sizeof(got), 0) == ssize_t(large.size()));
  }
}

TEST_CASE("balancer: who is at the address of a service that is gone reaches nobody",
          "[network][root][netns]") {
  World world("removed", 2);
  Team team(world, "red", 4097, 2);
  world.tellAll(team.news(ALL));
  team.join();
  CHECK(team.connectMany(2) == std::vector<int>{1, 1, 0});
  world.tellAll(team.news(ALL, false));
  CHECK(connectTo(socketIn(world.task(team.client())), VIP, 80) != 0);
  world.tellAll(team.news(ALL));
  CHECK(team.connectMany(2) == std::vector<int>{1, 1, 0});
}

TEST_CASE("balancer: a run takes over the services of the one before, and open connections go on",
          "[network][root][netns]") {
  World world("again", 2);
  Team team(world, "red", 4097, 3);
  world.tellAll(team.news(ALL));
  team.join();
  std::vector<kj::AutoCloseFd> clients;
  std::vector<Accepted> peers(3);
  for (int i = 0; i < 3; ++i) {
    clients.push_back(socketIn(world.task(team.client())));
    REQUIRE(connectTo(clients[i], VIP, 80) == 0);
    int turn = readyOf(Team::of(team.tcp));
    REQUIRE(turn >= 0);
    peers[i] = acceptFrom(team.tcp[turn]);
  }
  world[0].crash();
  CHECK(team.connectMany(6) == std::vector<int>{2, 2, 2, 0});
  world[0].run();
  // One serves no more since.
  world[0].tell(team.news({true, false, true}));
  world[0].retain({team.client(), team.names[0], team.names[2]});
  CHECK(team.connectMany(6) == std::vector<int>{3, 0, 3, 0});
  for (int i = 0; i < 3; ++i) CHECK(talk(clients[i], peers[i].fd));
  CHECK(world[0].warnings().empty());
}

TEST_CASE("balancer: what went while no orchd was there is nobody's any more",
          "[network][root][netns]") {
  World world("away", 2);
  Team team(world, "red", 4097, 3);
  world.tellAll(team.news(ALL));
  team.join();
  // Led to the second, by TCP, and to the second and the third, by UDP.
  std::vector<kj::AutoCloseFd> clients(3);
  Accepted peer;
  for (int turn = -1; turn != 1;) {
    clients[0] = socketIn(world.task(team.client()));
    REQUIRE(connectTo(clients[0], VIP, 80) == 0);
    turn = readyOf(Team::of(team.tcp));
    REQUIRE(turn >= 0);
    peer = acceptFrom(team.tcp[turn]);
  }
  for (int wanted : {1, 2}) {
    for (int turn = -1; turn != wanted;) {
      clients[wanted] = socketIn(world.task(team.client()), true);
      REQUIRE(connectTo(clients[wanted], VIP, 53) == 0);
      turn = askUdp(clients[wanted], Team::of(team.udp)).server;
      REQUIRE(turn >= 0);
    }
  }
  world[0].crash();
  auto news = team.news({true, true, false});
  news.peers.erase(news.peers.begin() + 2);  // after the client and the first
  world[1].tell(news);
  world[1].unplug("red", team.names[1]);
  world[0].run();
  world[0].tell(news);
  world[0].retain({team.client(), team.names[0], team.names[2]});
  send(clients[0], "hello", 5, MSG_NOSIGNAL);
  REQUIRE(readyOf({clients[0]}) == 0);
  char text[8];
  CHECK(recv(clients[0], text, sizeof(text), 0) < 0);
  CHECK(errno == ECONNRESET);
  for (int i : {1, 2}) CHECK(askUdp(clients[i], Team::of(team.udp)).server == 0);
}

TEST_CASE("balancer: networks with the same addresses balance among their own",
          "[network][root][netns]") {
  World world("same", 2);
  Team red(world, "red", 4097, 2), blue(world, "blue", 4098, 2);
  auto news = red.news(ALL), more = blue.news(ALL);
  news.networks.push_back(more.networks[0]);
  news.peers.insert(news.peers.end(), more.peers.begin(), more.peers.end());
  // A service is on both networks.
  news.services.push_back(more.services[0]);
  news.services[1].service = "blue-web";
  for (auto& peer : news.peers) {
    if (peer.network == std::string("blue") && peer.service == "web") peer.service = "blue-web";
  }
  world.tellAll(news);
  red.join();
  blue.join();
  CHECK(red.connectMany(4) == std::vector<int>{2, 2, 0});
  CHECK(blue.connectMany(4) == std::vector<int>{2, 2, 0});
  CHECK(red.askMany(4) == std::vector<int>{2, 2, 0});
}

TEST_CASE("balancer: who has more weight gets more of the connections", "[network][root][netns]") {
  World world("weights", 2);
  Team team(world, "red", 4097, 3);
  world.tellAll(team.news(ALL));
  team.join();
  std::vector<Ipv4> servers;
  for (int i = 0; i < 3; ++i) servers.push_back(*parseIpv4(addressOf(i).c_str()));
  BalancerChange change;
  change.gateway = GATEWAY;
  change.complete = true;
  auto apply = [&](Balancer& balancer, std::vector<uint32_t> weights) {
    Backends backends;
    for (int i = 0; i < 3; ++i) backends.push_back({servers[i], weights[i]});
    change.services[*parseIpv4(VIP)] = backends;
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
  auto refusal = [&](const char* balancer) {
    return World::errorOf([&] { world[0].run(balancer); });
  };
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
