// When a server may be stopped: nobody waits for anything from it.
#include "lib/open-connections.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "lib/netns.h"
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

// A namespace with a server at 10.1.1.1:80 in it, for a client that is in it as well.
struct ServedNamespace {
  explicit ServedNamespace(kj::StringPtr test) : folder(kj::str("network-connections-", test)) {
    pin = folder.sub("netns");
    auto made = makeNamespace(pin);
    made.inside->run(linkUp(1));
    inNamespace(pin, [&] {
      Rtnetlink net;
      net.run(newAddress(1, *parseIpv4("10.1.1.1"), 32));
      server = kj::AutoCloseFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      KJ_SYSCALL(bind(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
      KJ_SYSCALL(listen(server, 8));
    });
  }
  ~ServedNamespace() { dropPin(pin); }

  kj::AutoCloseFd connect() {
    kj::AutoCloseFd client;
    inNamespace(pin, [&] {
      client = kj::AutoCloseFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      KJ_SYSCALL(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
    });
    return client;
  }
  // How many are under way when that does not change any more: what is quiet needs a while.
  uint32_t settled(OpenConnections& connections, uint32_t wanted) {
    while (connections.underWay() != wanted) poll(nullptr, 0, QUIET_MS / 4);
    return wanted;
  }

  testing::TestFolder folder;
  kj::String pin;
  kj::AutoCloseFd server;
  sockaddr_in address{AF_INET, htons(80), {htonl(0x0a010101)}, {}};
};

TEST_CASE("open connections: of a namespace those are counted that are under way",
          "[network][root][netns]") {
  ServedNamespace world("count");
  OpenConnections connections(world.pin);
  CHECK(connections.underWay() == 0);
  auto client = world.connect();
  int accepted;
  KJ_SYSCALL(accepted = accept4(world.server, nullptr, nullptr, SOCK_CLOEXEC));
  kj::AutoCloseFd served(accepted);
  CHECK(world.settled(connections, 0) == 0);  // connected, and silent

  KJ_SYSCALL(write(client, "question", 8));
  CHECK(world.settled(connections, 1) == 1);
  char buffer[16];
  KJ_SYSCALL(read(served, buffer, sizeof(buffer)));
  CHECK(connections.underWay() == 1);  // read, and not answered
  poll(nullptr, 0, 2 * QUIET_MS);
  CHECK(connections.underWay() == 1);
  KJ_SYSCALL(write(served, "answer", 6));
  KJ_SYSCALL(read(client, buffer, sizeof(buffer)));
  CHECK(world.settled(connections, 0) == 0);

  // What somebody in it has asked of others is not his clients' affair.
  OpenConnections again(world.pin);
  CHECK(again.underWay() == 0);
}

TEST_CASE("open connections: a namespace that is not there is an error", "[network][root][netns]") {
  testing::TestFolder folder("network-connections-gone");
  CHECK_THROWS(OpenConnections(folder.sub("netns")));
}

}  // namespace
}  // namespace orch::network
