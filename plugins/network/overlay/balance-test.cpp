// Virtual addresses: whom a connection to one gets to, and what becomes of it when tasks come and
// go. With balancer-test.cpp what every balancer has to keep: it runs for the one that the kernel
// has, and for IPVS in user-mode-linux (uml-test.py).
#include <catch2/catch.hpp>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "host-test.h"

namespace orch::network::overlay {
namespace {

// Of the next read.
int errorOf(int fd) {
  char text[6];
  return recv(fd, text, 5, 0) < 0 ? errno : 0;
}

// A client and three servers of one service, two of them on the other host.
struct Quartet {
  explicit Quartet(kj::StringPtr name) : world(name, 2) {
    world.tellAll(news({true, true, true}));
    world[0].plug("red", "client", "10.0.1.10");
    world[0].plug("red", "web0", "10.0.1.20");
    world[1].plug("red", "web1", "10.0.1.21");
    world[1].plug("red", "web2", "10.0.1.22");
    for (int i = 0; i < 3; ++i) {
      auto path = world.task("web" + std::to_string(i));
      tcp.push_back(serverIn(path, 80));
      udp.push_back(serverIn(path, 53, true));
    }
  }
  News news(std::vector<bool> serving) {
    News told{{{"red", 4097}}, {{"red", "client", "client", "10.0.1.10", 0}}};
    for (int i = 0; i < 3; ++i) {
      told.peers.push_back({"red", "web" + std::to_string(i), "web", "10.0.1.2" + std::to_string(i),
                            i == 0 ? 0 : 1, serving[i]});
    }
    told.services.push_back({"red", "web", VIP});
    return told;
  }
  std::vector<int> of(const std::vector<kj::AutoCloseFd>& servers) {
    std::vector<int> fds;
    for (auto& server : servers) fds.push_back(server.get());
    return fds;
  }
  // How many of so many new connections each server got; -1: something else than the client's
  // address was seen.
  std::vector<int> connectMany(int count) {
    std::vector<int> got(3);
    for (int i = 0; i < count; ++i) {
      auto client = socketIn(world.task("client"));
      if (connectTo(client, VIP, 80) != 0) return {};
      int turn = readyOf(of(tcp));
      if (turn < 0) return {};
      auto peer = acceptFrom(tcp[turn]);
      if (peer.address != "10.0.1.10" || !talk(client, peer.fd)) return {-1};
      ++got[turn];
    }
    return got;
  }

  static constexpr const char* VIP = "10.0.1.2";
  World world;
  std::vector<kj::AutoCloseFd> tcp;
  std::vector<kj::AutoCloseFd> udp;
};

TEST_CASE("balancer: connections go round all that serve, with the client's address",
          "[network][root][netns]") {
  Quartet quartet("round");
  CHECK(quartet.connectMany(30) == std::vector<int>{10, 10, 10});
  quartet.world.tellAll(quartet.news({true, false, true}));
  CHECK(quartet.connectMany(10) == std::vector<int>{5, 0, 5});
  quartet.world.tellAll(quartet.news({true, true, true}));
  CHECK(quartet.connectMany(9) == std::vector<int>{3, 3, 3});
}

TEST_CASE("balancer: whom a UDP client talks to changes as soon as he serves no more",
          "[network][root][netns]") {
  Quartet quartet("udp");
  auto client = socketIn(quartet.world.task("client"), true);
  REQUIRE(connectTo(client, Quartet::VIP, 53) == 0);
  auto first = askUdp(client, quartet.of(quartet.udp));
  REQUIRE(first.server >= 0);
  CHECK(first.address == "10.0.1.10");
  CHECK(askUdp(client, quartet.of(quartet.udp)).server == first.server);
  std::vector<bool> serving(3, true);
  serving[first.server] = false;
  quartet.world.tellAll(quartet.news(serving));
  auto second = askUdp(client, quartet.of(quartet.udp));
  CHECK(second.server >= 0);
  CHECK(second.server != first.server);
}

TEST_CASE("balancer: a task reaches itself by its service's address", "[network][root][netns]") {
  Quartet quartet("hairpin");
  quartet.world.tellAll(quartet.news({true, false, false}));
  auto client = socketIn(quartet.world.task("web0"));
  REQUIRE(connectTo(client, Quartet::VIP, 80) == 0);
  auto peer = acceptFrom(quartet.tcp[0]);
  CHECK(peer.address == "10.0.1.1");  // the one case in which the source is another
  CHECK(talk(client, peer.fd));
}

TEST_CASE("balancer: a service that nobody serves refuses at once, until somebody does",
          "[network][root][netns]") {
  Quartet quartet("nobody");
  quartet.world.tellAll(quartet.news({false, false, false}));
  CHECK(connectTo(socketIn(quartet.world.task("client")), Quartet::VIP, 80) == ECONNREFUSED);
  auto udp = socketIn(quartet.world.task("client"), true);
  REQUIRE(connectTo(udp, Quartet::VIP, 53) == 0);
  REQUIRE(send(udp, "hello", 5, 0) == 5);
  CHECK(errorOf(udp) == ECONNREFUSED);
  quartet.world.tellAll(quartet.news({false, true, false}));
  CHECK(quartet.connectMany(2) == std::vector<int>{0, 2, 0});
  CHECK(askUdp(udp, quartet.of(quartet.udp)).server == 1);
}

TEST_CASE("balancer: open connections to a task outlive its serving, not the task",
          "[network][root][netns]") {
  Quartet quartet("drain");
  quartet.world.tellAll(quartet.news({false, true, false}));
  auto client = socketIn(quartet.world.task("client"));
  REQUIRE(connectTo(client, Quartet::VIP, 80) == 0);
  auto peer = acceptFrom(quartet.tcp[1]);
  quartet.world.tellAll(quartet.news({true, false, true}));
  CHECK(quartet.connectMany(4) == std::vector<int>{2, 0, 2});
  CHECK(talk(client, peer.fd));
  News gone{{}, {}, {}, false, {{"red", "web1", "web", "10.0.1.21", 1}}};
  quartet.world.tellAll(gone);
  quartet.world[1].unplug("red", "web1");
  send(client, "hello", 5, MSG_NOSIGNAL);
  REQUIRE(readyOf({client}) == 0);  // whoever gets it knows nothing of it, and says so
  CHECK(errorOf(client) == ECONNRESET);
}

}  // namespace
}  // namespace orch::network::overlay
