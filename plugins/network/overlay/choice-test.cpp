// Whom a connection to a virtual address goes to if it is not simply the next in turn. Part of what
// every balancer has to keep.
#include <catch2/catch.hpp>

#include <set>

#include "host-test.h"

namespace orch::network::overlay {
namespace {

using schema::EndpointSpec;

constexpr const char* SHARED = "10.0.1.2";
constexpr uint64_t HOUR_MS = 3600'000;

// Six clients and three servers of one service.
struct Crowd {
  static constexpr int CLIENTS = 6;
  static constexpr int SERVERS = 3;
  explicit Crowd(kj::StringPtr name, bool ipv6 = false) : world(name, 1, ipv6) {
    tell({true, true, true});
    for (int i = 0; i < CLIENTS; ++i) world[0].plug("red", client(i), "10.0.1.1" + number(i));
    for (int i = 0; i < SERVERS; ++i) {
      world[0].plug("red", "web" + number(i), "10.0.1.2" + number(i));
      servers.push_back(serverIn(world.task("web" + number(i)), 80, false, ipv6));
    }
  }
  static std::string number(int i) { return std::to_string(i); }
  static std::string client(int i) { return "client" + number(i); }
  void tell(std::vector<bool> serving) {
    News told{{{"red", 4097}}};
    for (int i = 0; i < CLIENTS; ++i) {
      told.peers.push_back({"red", client(i), "client", "10.0.1.1" + number(i), 0});
    }
    for (int i = 0; i < SERVERS; ++i) {
      told.peers.push_back(
          {"red", "web" + number(i), "web", "10.0.1.2" + number(i), 0, serving[i]});
    }
    told.services.push_back({"red", "web", SHARED, algorithm, persistenceMs});
    world[0].tell(told);
  }
  // Who gets a new connection of the client; -1: nobody.
  int ask(int from) {
    auto socket = socketIn(world.task(client(from)), false, world.ipv6);
    if (connectTo(socket, world.used(SHARED), 80) != 0) return -1;
    std::vector<int> fds;
    for (auto& server : servers) fds.push_back(server.get());
    int turn = readyOf(fds);
    if (turn < 0) return -1;
    auto peer = acceptFrom(servers[turn]);
    return peer.address == world.used("10.0.1.1" + number(from)) && talk(socket, peer.fd) ? turn
                                                                                          : -1;
  }
  // Where each client gets to, asked four times; -1: not to one and the same.
  std::vector<int> askAll() {
    std::vector<int> got;
    for (int i = 0; i < CLIENTS; ++i) {
      std::set<int> turns;
      for (int times = 0; times < 4; ++times) turns.insert(ask(i));
      got.push_back(turns.size() == 1 ? *turns.begin() : -1);
    }
    return got;
  }

  World world;
  EndpointSpec::Algorithm algorithm = EndpointSpec::Algorithm::RR;
  uint64_t persistenceMs = 0;
  std::vector<kj::AutoCloseFd> servers;
};

TEST_CASE("balancer: by the client's address each client gets to one task, all the time",
          "[network][root][netns]") {
  Crowd crowd("hash", GENERATE(false, true));
  crowd.algorithm = EndpointSpec::Algorithm::SH;
  crowd.tell({true, true, true});
  auto first = crowd.askAll();
  for (auto turn : first) CHECK(turn >= 0);
  CHECK(std::set<int>(first.begin(), first.end()).size() > 1);  // not all to the same
  CHECK(crowd.askAll() == first);
  crowd.tell({true, false, true});
  for (auto turn : crowd.askAll()) CHECK((turn == 0 || turn == 2));
  crowd.tell({true, true, true});
  CHECK(crowd.askAll() == first);  // the rules were written anew
  CHECK(crowd.world[0].check().empty());
}

TEST_CASE("balancer: the choice of a service changes without its tasks", "[network][root][netns]") {
  Crowd crowd("change");
  CHECK(crowd.askAll()[0] == -1);  // in turn: one client gets to several
  crowd.algorithm = EndpointSpec::Algorithm::SH;
  crowd.tell({true, true, true});
  CHECK(crowd.askAll()[0] >= 0);
  crowd.algorithm = EndpointSpec::Algorithm::RR;
  crowd.tell({true, true, true});
  CHECK(crowd.askAll()[0] == -1);
  crowd.persistenceMs = HOUR_MS;
  crowd.tell({true, true, true});
  CHECK(crowd.askAll()[0] >= 0);
}

TEST_CASE("balancer: a client that stays gets to the same task, while that serves",
          "[network][root][netns]") {
  Crowd crowd("stay", GENERATE(false, true));
  crowd.persistenceMs = HOUR_MS;
  crowd.tell({true, true, true});
  auto first = crowd.askAll();
  CHECK(std::set<int>(first.begin(), first.end()) == std::set<int>{0, 1, 2});
  CHECK(crowd.askAll() == first);
  CHECK(crowd.world[0].check().empty());
  crowd.tell({true, false, true});
  auto second = crowd.askAll();
  for (int i = 0; i < Crowd::CLIENTS; ++i) {
    if (first[i] == 1) {
      CHECK((second[i] == 0 || second[i] == 2));
    } else {
      CHECK(second[i] == first[i]);
    }
  }
  // Who was led elsewhere does not come back with the task.
  crowd.tell({true, true, true});
  CHECK(crowd.askAll() == second);
}

TEST_CASE("balancer: clients stay over a restart of orchd", "[network][root][netns]") {
  Crowd crowd("restart", GENERATE(false, true));
  crowd.persistenceMs = HOUR_MS;
  crowd.tell({true, true, true});
  auto first = crowd.askAll();
  crowd.world[0].crash();
  CHECK(crowd.askAll() == first);
  crowd.world[0].run();
  crowd.tell({true, true, true});
  std::vector<std::string> tasks;
  for (int i = 0; i < Crowd::CLIENTS; ++i) tasks.push_back(Crowd::client(i));
  for (int i = 0; i < Crowd::SERVERS; ++i) tasks.push_back("web" + Crowd::number(i));
  crowd.world[0].retain(tasks);
  CHECK(crowd.askAll() == first);
}

TEST_CASE("balancer: with a restart the choice of before is left behind",
          "[network][root][netns]") {
  Crowd crowd("left");
  crowd.algorithm = EndpointSpec::Algorithm::SH;
  crowd.persistenceMs = HOUR_MS;
  crowd.tell({true, true, true});
  CHECK(crowd.askAll()[0] >= 0);
  crowd.world[0].crash();
  crowd.algorithm = EndpointSpec::Algorithm::RR;
  crowd.persistenceMs = 0;
  crowd.world[0].run();
  crowd.tell({true, true, true});
  CHECK(crowd.askAll()[0] == -1);
  CHECK(crowd.world[0].check().empty());
}

}  // namespace
}  // namespace orch::network::overlay
