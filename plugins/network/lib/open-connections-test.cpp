// When a server may be stopped: nobody waits for anything from it.
#include "lib/open-connections.h"

#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <poll.h>
#include <unistd.h>

#include <vector>

#include "lib/netns.h"
#include "lib/testing/test-sockets.h"
#include "orch/testing/test-host.h"

namespace orch::network {
namespace {

constexpr uint8_t ESTABLISHED_STATE = 1;
constexpr uint8_t FIN_WAIT1_STATE = 4;

TEST_CASE("open connections: one is under way while somebody waits for something", "[network]") {
  struct Case {
    const char* what;
    ConnectionFacts facts;
    bool underWay;
  };
  Case cases[] = {
      {"quiet since an answer", {ESTABLISHED_STATE, 0, 0, 900, 800}, false},
      {"quiet, and nothing was ever said", {ESTABLISHED_STATE, 0, 0, 900, 900}, false},
      {"an answer that was just given", {ESTABLISHED_STATE, 0, 0, 900, 50}, true},
      {"a request that has no answer yet", {ESTABLISHED_STATE, 0, 0, 800, 900}, true},
      {"a request that came with the connection", {ESTABLISHED_STATE, 0, 0, 900, 900, true}, true},
      {"a request that nobody has read", {ESTABLISHED_STATE, 7, 0, 900, 800}, true},
      {"an answer that has not arrived", {ESTABLISHED_STATE, 0, 7, 900, 800}, true},
      {"closed, with its end on the way", {FIN_WAIT1_STATE, 0, 1, 900, 800}, true},
      {"closed", {FIN_WAIT1_STATE, 0, 0, 10, 10}, false},
  };
  for (auto& one : cases) {
    INFO(one.what);
    CHECK(isUnderWay(one.facts) == one.underWay);
  }
}

// A namespace with a server at 10.1.1.1:80 in it, and its clients: of their side of a connection
// nothing is to be counted.
struct ServedNamespace {
  explicit ServedNamespace(kj::StringPtr test) : folder(kj::str("network-connections-", test)) {
    pin = folder.sub("netns");
    auto made = makeNamespace(pin);
    made.inside->run(linkUp(1), newAddress(1, *parseIpv4("10.1.1.1"), 32));
    server = serverIn(pin.cStr(), 80);
  }
  ~ServedNamespace() { dropPin(pin); }

  kj::AutoCloseFd connect() {
    auto client = socketIn(pin.cStr());
    REQUIRE(connectTo(client, "10.1.1.1", 80) == 0);
    return client;
  }

  testing::TestFolder folder;
  kj::String pin;
  kj::AutoCloseFd server;
};

// The kernel tells nobody, and what is quiet has to have been so for a while.
bool becomes(OpenConnections& connections, uint32_t wanted) {
  for (int waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += QUIET_MS / 4) {
    if (connections.underWay() == wanted) return true;
    poll(nullptr, 0, QUIET_MS / 4);
  }
  return false;
}

TEST_CASE("open connections: of a namespace those are counted that are under way",
          "[network][root][netns]") {
  ServedNamespace world("count");
  OpenConnections connections(world.pin);
  CHECK(connections.underWay() == 0);
  auto client = world.connect();
  auto served = acceptFrom(world.server).fd;
  CHECK(becomes(connections, 0));  // connected, and silent

  KJ_SYSCALL(write(client, "question", 8));
  CHECK(becomes(connections, 1));
  char buffer[16];
  KJ_SYSCALL(read(served, buffer, sizeof(buffer)));
  poll(nullptr, 0, 2 * QUIET_MS);  // however long the answer takes
  CHECK(connections.underWay() == 1);
  KJ_SYSCALL(write(served, "answer", 6));
  KJ_SYSCALL(read(client, buffer, sizeof(buffer)));
  CHECK(becomes(connections, 0));
}

TEST_CASE("open connections: one whose client asks as soon as it can is under way until the answer",
          "[network][root][netns]") {
  ServedNamespace world("at-once");
  OpenConnections connections(world.pin);
  constexpr uint32_t MANY = 20;
  std::vector<kj::AutoCloseFd> clients, served;
  char buffer[16];
  for (uint32_t i = 0; i < MANY; ++i) {
    clients.push_back(world.connect());
    KJ_SYSCALL(write(clients.back(), "question", 8));
    served.push_back(acceptFrom(world.server).fd);
    KJ_SYSCALL(read(served.back(), buffer, sizeof(buffer)));
  }
  poll(nullptr, 0, 2 * QUIET_MS);  // however long the answers take
  CHECK(connections.underWay() == MANY);
  for (auto& one : served) KJ_SYSCALL(write(one, "answer", 6));
  for (auto& one : clients) KJ_SYSCALL(read(one, buffer, sizeof(buffer)));
  CHECK(becomes(connections, 0));
}

TEST_CASE("open connections: a namespace that is not there is an error", "[network][root][netns]") {
  testing::TestFolder folder("network-connections-gone");
  CHECK_THROWS(OpenConnections(folder.sub("netns")));
}

}  // namespace
}  // namespace orch::network
