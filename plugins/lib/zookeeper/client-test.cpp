// The client against real servers that die, stop, come back and are replaced.
#include <catch2/catch.hpp>
#include <signal.h>

#include "orch/testing/held-time.h"
#include "orch/testing/sockets.h"
#include "zookeeper/testing/test-relay.h"
#include "zookeeper/testing/test-zookeeper.h"

namespace orch::zookeeper {
namespace {

struct ClientLoop {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  kj::WaitScope& scope = io.waitScope;
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, scope, what, kj::mv(reached));
  }
};

TEST_CASE("zookeeper: calls are answered in order, and a transaction is all or nothing",
          "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-calls");
  TestClient test(*loop.env, loop.scope, servers.endpoints());
  auto& client = test.client;
  // Nobody is asked before there is a connection.
  CHECK(client.get("/").wait(loop.scope).code == Code::LOST);
  client.connected().wait(loop.scope);
  CHECK(client.session() >= 1);  // another one if the server took its time to start
  CHECK(client.sessionId() != 0);
  auto made = client.create("/a", "1");
  auto again = client.create("/a", "2");
  auto changed = client.set("/a", "3", 0);
  auto stale = client.set("/a", "4", 0);
  auto read = client.get("/a");
  CHECK(made.wait(loop.scope).code == Code::OK);
  CHECK(again.wait(loop.scope).code == Code::NODE_EXISTS);
  CHECK(changed.wait(loop.scope).code == Code::OK);
  CHECK(stale.wait(loop.scope).code == Code::BAD_VERSION);
  auto got = read.wait(loop.scope);
  CHECK((got.code == Code::OK && got.value == "3" && got.version == 1 && got.owner == 0));
  CHECK(got.changedAt > 0);

  auto good = client.multi(Multi().check("/a", 1).create("/a/b", "").set("/a", "5", 1));
  CHECK(good.wait(loop.scope).code == Code::OK);
  auto bad = client.multi(
      Multi().create("/a/c", "x").set("/a", "6", 1).create("/a/d", "y").remove("/a/b"));
  auto failed = bad.wait(loop.scope);
  CHECK((failed.code == Code::BAD_VERSION && failed.at == 1));
  CHECK(test.children("/a") == std::vector<std::string>{"b"});
  CHECK(test.get("/a") == "5");
  CHECK(client.remove("/a").wait(loop.scope).code == Code::NOT_EMPTY);
  CHECK(client.remove("/nothing").wait(loop.scope).code == Code::NO_NODE);
  CHECK(client.get("no-path").wait(loop.scope).code == Code::BAD_ARGUMENTS);
  CHECK(client.get("/a/b").wait(loop.scope).value.empty());

  std::string large(1'000'000, 'v');
  test.put("/large", large);
  CHECK(test.get("/large") == large);
  constexpr int MANY = 5000;
  std::vector<kj::Promise<Done>> all;
  for (int i = 0; i < MANY; ++i) {
    all.push_back(client.create("/a/" + std::string(100, 'n') + std::to_string(i), "v"));
  }
  for (auto& one : all) CHECK(one.wait(loop.scope).code == Code::OK);
  CHECK(test.children("/a").size() == MANY + 1);
}

TEST_CASE("zookeeper: a session outlives its server, and its watches with it", "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-session");
  // Longer than a server takes to start, on any machine.
  TestClient test(*loop.env, loop.scope, servers.endpoints(), "", "", 60 * kj::SECONDS);
  TestClient other(*loop.env, loop.scope, servers.endpoints());
  auto& client = test.client;
  test.put("/a", "1");
  CHECK(client.create("/mine", "", Lives::WITH_SESSION).wait(loop.scope).code == Code::OK);
  auto watched = client.watch("/a");
  auto children = client.watchChildren("/a");
  auto missing = client.watch("/none");
  CHECK(watched.read.wait(loop.scope).value == "1");
  CHECK(children.read.wait(loop.scope).names.empty());
  CHECK(missing.read.wait(loop.scope).code == Code::NO_NODE);
  missing.changed.wait(loop.scope);
  auto id = client.sessionId();
  auto session = client.session();
  servers.kill();
  loop.until("the loss to be seen", [&] { return !client.isConnected(); });
  CHECK(client.get("/a").wait(loop.scope).code == Code::LOST);
  servers.start();
  client.connected().wait(loop.scope);
  CHECK(client.sessionId() == id);
  CHECK(client.session() == session);
  CHECK(!watched.changed.poll(loop.scope));
  CHECK(test.exists("/mine"));
  other.put("/a", "2");
  watched.changed.wait(loop.scope);
  CHECK(!children.changed.poll(loop.scope));
  other.put("/a/b", "");
  children.changed.wait(loop.scope);
}

TEST_CASE("zookeeper: a server that was left is asked again only if all others were, too",
          "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper one(*loop.env, loop.scope, "zk-left-one"),
      two(*loop.env, loop.scope, "zk-left-two");
  TestClient test(*loop.env, loop.scope, {one.endpoint(), two.endpoint()});
  auto& client = test.client;
  client.connected().wait(loop.scope);
  auto session = client.session();
  auto watched = client.watch("/");
  auto first = client.leave("is wrong");
  CHECK(!client.isConnected());
  CHECK(client.get("/").wait(loop.scope).code == Code::LOST);
  CHECK(client.lostText().find(first + " is wrong; see that") != std::string::npos);
  watched.changed.wait(loop.scope);
  client.connected().wait(loop.scope);
  CHECK(client.session() > session);
  CHECK(client.get("/").wait(loop.scope).code == Code::OK);
  auto second = client.leave("is wrong, too");
  CHECK((first == one.endpoint() ? second == two.endpoint() : second == one.endpoint()));
  client.connected().wait(loop.scope);
  CHECK(client.get("/").wait(loop.scope).code == Code::OK);
}

TEST_CASE("zookeeper: what changed while the connection was away is told", "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-away");
  TestRelay relay(loop.io, servers.port());
  TestClient test(*loop.env, loop.scope, {relay.endpoint()});
  TestClient other(*loop.env, loop.scope, servers.endpoints());
  test.put("/a", "1");
  auto watched = test.client.watch("/a");
  watched.read.wait(loop.scope);
  relay.cut();
  loop.until("the loss to be seen", [&] { return !test.client.isConnected(); });
  other.put("/a", "2");
  CHECK(!watched.changed.poll(loop.scope));
  relay.reach();
  watched.changed.wait(loop.scope);
  CHECK(test.get("/a") == "2");

  // An answer that is lost leaves it open whether the call was done.
  relay.loseAnswers(1);
  CHECK(isLost(test.client.create("/b", "").wait(loop.scope).code));
  CHECK(relay.lost() == 1);
  CHECK(other.exists("/b"));
}

TEST_CASE("zookeeper: a session that nobody answers is given up for a new one", "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-expired");
  TestRelay relay(loop.io, servers.port());
  ClientSettings settings;
  settings.servers = {Server::parse(relay.endpoint())};
  settings.session = 1 * kj::SECONDS;
  Client client(*loop.env, settings);
  TestClient other(*loop.env, loop.scope, servers.endpoints());
  client.connected().wait(loop.scope);
  CHECK(client.create("/mine", "", Lives::WITH_SESSION).wait(loop.scope).code == Code::OK);
  auto watched = client.watch("/mine");
  CHECK(watched.read.wait(loop.scope).owner == client.sessionId());
  auto pending = client.watch("/");
  pending.read.wait(loop.scope);
  relay.cut();
  loop.until("the node to go with its session", [&] { return !other.exists("/mine"); });
  // Also what did not change: whoever watches has to look again.
  pending.changed.wait(loop.scope);
  watched.changed.wait(loop.scope);
  relay.reach();
  client.connected().wait(loop.scope);
  CHECK(client.session() >= 2);
  CHECK(client.get("/mine").wait(loop.scope).code == Code::NO_NODE);
}

TEST_CASE("zookeeper: another server takes over from one that dies or falls silent",
          "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-three", 3);
  TestClient test(*loop.env, loop.scope, servers.endpoints());
  test.put("/a", "0");
  for (int round = 0; round < 2; ++round) {
    size_t leader = 0;
    while (servers.role(leader) != "leader") leader = (leader + 1) % 3;
    if (round == 0) {
      servers.kill(leader);
    } else {
      servers.signal(SIGSTOP, leader);
    }
    bool done = false;
    while (!done) {
      test.client.connected().wait(loop.scope);
      done = test.client.set("/a", std::to_string(round)).wait(loop.scope).code == Code::OK;
    }
    if (round == 0) {
      servers.start(leader);
    } else {
      servers.signal(SIGCONT, leader);
    }
    CHECK(test.get("/a") == std::to_string(round));
  }
}

TEST_CASE("zookeeper: an older copy lets in a new session only", "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-older");
  TestClient first(*loop.env, loop.scope, servers.endpoints());
  first.put("/a", "1");
  servers.kill();
  servers.keepFiles();
  servers.start();
  TestClient test(*loop.env, loop.scope, servers.endpoints());
  test.put("/a", "2");
  test.put("/a", "3");
  servers.kill();
  servers.restoreFiles();
  servers.start();
  loop.until("a new session", [&] { return test.client.session() >= 2; });
  CHECK(test.get("/a") == "1");
}

TEST_CASE("zookeeper: with a user and a password nodes are for who has them", "[zookeeper]") {
  ClientLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-digest");
  TestClient owner(*loop.env, loop.scope, servers.endpoints(), "orch", "secret");
  owner.put("/a", "1");
  owner.client.multi(Multi().create("/a/b", "2")).wait(loop.scope);
  TestClient wrong(*loop.env, loop.scope, servers.endpoints(), "orch", "guessed");
  TestClient nobody(*loop.env, loop.scope, servers.endpoints());
  for (auto* stranger : {&wrong, &nobody}) {
    stranger->client.connected().wait(loop.scope);
    auto read = stranger->client.get("/a/b").wait(loop.scope);
    CHECK(read.code == Code::NO_AUTH);
    CHECK(stranger->client.refusalText(read.code) ==
          "ZooKeeper at '" + servers.endpoint() +
              "' refuses: not authenticated; 'user' and 'passwordFile' have to be those of who "
              "made what is there");
  }
  TestClient same(*loop.env, loop.scope, servers.endpoints(), "orch", "secret");
  CHECK(same.get("/a/b") == "2");
}

TEST_CASE("zookeeper: why nobody answers is told", "[zookeeper]") {
  ClientLoop loop;
  auto port = testing::freePort();
  ClientSettings settings;
  settings.servers = {Server{"127.0.0.1", port}};
  Client nobody(*loop.env, settings);
  auto start = "ZooKeeper at '127.0.0.1:" + std::to_string(port) + "' does not answer: ";
  auto end = std::string("; see that most of its servers run, and that 'endpoints' names them");
  auto refused = start + "127.0.0.1:" + std::to_string(port) + ": Connection refused" + end;
  loop.until("the refusal", [&] { return nobody.lostText() == refused; });
  settings.servers = {Server{"nowhere.invalid", 2181}};
  Client nowhere(*loop.env, settings);
  loop.until("the name to be unknown", [&] {
    return nowhere.lostText().find("the name 'nowhere.invalid' has no address: ") !=
           std::string::npos;
  });
}

}  // namespace
}  // namespace orch::zookeeper
