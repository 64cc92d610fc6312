// Who is alive: heartbeats by datagram, in the session, and what is said of those that are silent.
#include "lib/beat.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "lib/socket-address.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/sockets.h"
#include "session/beat-receiver.h"
#include "session/beat-watch.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

// A receiver on loopback and a socket that sends to it, in the real world.
struct Wire {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  BeatReceiver receiver{*env};
  capnp::MallocMessageBuilder message;
  schema::BeatTerms::Builder terms = message.initRoot<schema::BeatTerms>();
  SocketAddress to;
  kj::AutoCloseFd out;
  BeatCodec codec;
  uint64_t sent = 0;  // that are to be ignored

  Wire() {
    int descriptor;
    KJ_SYSCALL(descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    out = kj::AutoCloseFd(descriptor);
    auto address = "127.0.0.1:" + std::to_string(testing::freePort());
    receiver.listen(address);
    to = *SocketAddress::parse(address);
    REQUIRE(receiver.listens());
    receiver.admit("node1", 1000, terms);
  }
  BeatKey key() {
    BeatKey key;
    std::copy(terms.getKey().begin(), terms.getKey().end(), key.begin());
    return key;
  }
  void send(const void* bytes, size_t size) {
    KJ_SYSCALL(sendto(out, bytes, size, 0, to.get(), to.size()));
  }
  void send(const BeatBytes& bytes) { send(bytes.data(), bytes.size()); }
  template <typename Done>
  void until(Done done) {
    for (int turns = 0; !done() && turns < 3000; ++turns) {
      env->timer().afterDelay(10 * kj::MILLISECONDS).wait(io.waitScope);
    }
    REQUIRE(done());
  }
  uint32_t lag() {
    uint32_t lag = 0;
    KJ_IF_MAYBE (heard, receiver.lastOf(terms.getSession())) lag = heard->loopLagMs;
    return lag;
  }
};

TEST_CASE("beats: a datagram counts once, of its session, with its key", "[loop]") {
  Wire wire;
  auto session = wire.terms.getSession();
  CHECK(wire.receiver.lastOf(session) == nullptr);
  auto first = wire.codec.seal(wire.key(), {session, 1, 7});
  auto second = wire.codec.seal(wire.key(), {session, 2, 8});
  wire.send(second);
  wire.until([&] { return wire.lag() == 8; });
  auto at = KJ_ASSERT_NONNULL(wire.receiver.lastOf(session)).at;
  uint64_t ignored = 0;
  auto isIgnored = [&](const BeatBytes& bytes, size_t size = BEAT_BYTES) {
    wire.send(bytes.data(), size);
    ++ignored;
  };
  isIgnored(first);   // late
  isIgnored(second);  // replayed
  auto other = wire.key();
  other[0] ^= 1;
  isIgnored(wire.codec.seal(other, {session, 3, 9}));
  isIgnored(wire.codec.seal(wire.key(), {session + 2, 3, 9}));
  auto genuine = wire.codec.seal(wire.key(), {session, 3, 9});
  for (size_t i = 0; i < genuine.size(); ++i) {
    auto changed = genuine;
    changed[i] ^= 0x10;
    isIgnored(changed);
  }
  isIgnored(genuine, BEAT_BYTES - 1);
  isIgnored(genuine, 0);
  wire.until([&] { return wire.receiver.ignored() == ignored; });
  auto longer = std::vector<uint8_t>(genuine.begin(), genuine.end());
  longer.push_back(0);
  wire.send(longer.data(), longer.size());
  wire.until([&] { return wire.receiver.ignored() == ignored + 1; });
  CHECK(wire.lag() == 8);
  CHECK(KJ_ASSERT_NONNULL(wire.receiver.lastOf(session)).at == at);
  wire.send(genuine);
  wire.until([&] { return wire.lag() == 9; });
  // With its session it is over.
  wire.receiver.forget(session);
  wire.send(wire.codec.seal(wire.key(), {session, 4, 10}));
  wire.until([&] { return wire.receiver.ignored() == ignored + 2; });
  CHECK(wire.receiver.lastOf(session) == nullptr);
}

TEST_CASE("beats: an address that is in use is refused with the reason", "[loop]") {
  Wire wire;
  auto address = std::string(wire.terms.getAddress().cStr());
  BeatReceiver second(*wire.env);
  auto listening = attemptNow([&] { second.listen(address); });
  REQUIRE(!listening.ok());
  CHECK(plainText(listening.error()) ==
        kj::str("cannot receive datagrams at '", address.c_str(), "': Address already in use"));
  CHECK(second.admit("node1", 1000, wire.terms) == 0);
}

TEST_CASE("beats: addresses in digits", "[manager]") {
  for (auto good : {"127.0.0.1:2377", "[::1]:2377", "[fd90::1]:1"}) {
    CAPTURE(good);
    CHECK(SocketAddress::parse(good).has_value());
  }
  for (auto bad : {"", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "host:1",
                   "::1:1", "127.0.0.1:1x", "[::1]"}) {
    CAPTURE(bad);
    CHECK_FALSE(SocketAddress::parse(bad).has_value());
  }
}

TEST_CASE("beats: the receiver names who is no longer heard, and whose loop stands still",
          "[loop]") {
  Wire wire;
  auto session = wire.terms.getSession();
  auto longAgo = kj::origin<kj::TimePoint>();
  auto later = wire.env->timer().now() + 1 * kj::HOURS;
  CHECK(wire.receiver.unwell(later, 100).empty());  // never heard: nothing is known of it
  wire.send(wire.codec.seal(wire.key(), {session, 1, 99}));
  wire.until([&] { return wire.lag() == 99; });
  CHECK(wire.receiver.unwell(longAgo, 100).empty());
  CHECK(wire.receiver.unwell(longAgo, 99) == std::vector<std::string>{"node1"});
  CHECK(wire.receiver.unwell(later, 100) == std::vector<std::string>{"node1"});
  wire.receiver.forget(session);
  CHECK(wire.receiver.unwell(later, 0).empty());
}

// Nodes whose beats somebody else hears, each second, as the receiver does.
struct Beating final : BeatWatch::Observer {
  testing::VirtualWorld world{testing::testSeed()};
  BeatWatch watch{world.env(), 2500 * kj::MILLISECONDS, 15 * kj::SECONDS, *this};
  std::map<std::string, kj::TimePoint> newest;
  std::set<std::string> silent, stuck;
  bool answer = false;  // when they are suspected
  uint64_t looks = 0;
  std::vector<std::string> log;

  explicit Beating(uint32_t nodes) {
    for (uint32_t i = 0; i < nodes; ++i) {
      auto id = "node" + std::to_string(i);
      newest.insert_or_assign(id, now());
      watch.expect(id, 10 * kj::SECONDS, "");
    }
    seconds(10);
    looks = 0;
  }
  kj::TimePoint now() { return world.env().timer().now(); }
  void seconds(uint32_t count) {
    for (; count > 0; --count) {
      world.advance(1 * kj::SECONDS);
      for (auto& [id, at] : newest) {
        if (silent.count(id) == 0) at = now();
      }
    }
  }
  // "missed node3 2500"
  void note(const char* what, const std::string& id) {
    auto after = (now() - newest.at(id)) / kj::MILLISECONDS;
    log.push_back(std::string(what) + " " + id + " " + std::to_string(after));
  }
  kj::Maybe<kj::TimePoint> newestBeat(const std::string& id) override {
    ++looks;
    return newest.at(id);
  }
  bool beaten(const std::string& id) override { return stuck.count(id) == 0; }
  std::vector<std::string> unwell(kj::TimePoint since) override {
    std::vector<std::string> found;
    for (auto& [id, at] : newest) {
      if (at < since || stuck.count(id) > 0) found.push_back(id);
    }
    return found;
  }
  void suspected(const std::string& id) override {
    note("suspected", id);
    if (answer) watch.beat(id);
  }
  bool missed(const std::string& id, const std::string&) override {
    note("missed", id);
    return true;
  }
};

TEST_CASE("beats: of 1,000 nodes only those that are not well are looked at", "[manager]") {
  Beating nodes(1000);
  nodes.seconds(3600);
  CHECK(nodes.looks == 0);
  nodes.silent = {"node3"};
  nodes.seconds(3);
  CHECK(nodes.log == std::vector<std::string>{"suspected node3 1250", "missed node3 2500"});
  CHECK(nodes.looks <= 3);
  nodes.silent.clear();
  nodes.seconds(3);
  nodes.looks = 0;
  nodes.seconds(60);
  CHECK(nodes.looks == 0);
  nodes.stuck = {"node7"};
  nodes.seconds(60);
  CHECK(nodes.looks >= 30);
  CHECK(nodes.looks <= 60);
  nodes.stuck.clear();
  nodes.seconds(3);
  nodes.looks = 0;
  nodes.seconds(60);
  CHECK(nodes.looks == 0);
  CHECK(nodes.log.size() == 2);
}

TEST_CASE("beats: whose beats were lost while the manager stood still is asked before it is gone",
          "[manager]") {
  Beating nodes(10);
  nodes.world.advance(800 * kj::MILLISECONDS);
  nodes.world.standStill(2 * kj::SECONDS);
  nodes.answer = true;
  nodes.world.advance(900 * kj::MILLISECONDS);
  CHECK(nodes.log.size() == 10);
  nodes.seconds(60);
  for (auto& line : nodes.log) CHECK(line.find("suspected") == 0);
  CHECK(nodes.log.size() == 10);
}

TEST_CASE("beats: nobody else hears a node whose session is over", "[manager]") {
  Beating nodes(2);
  nodes.watch.alone("node1");
  nodes.newest.erase("node0");
  nodes.watch.expect("node0", 500 * kj::MILLISECONDS, "");
  nodes.newest.insert_or_assign("node0", nodes.now());
  nodes.silent = {"node0", "node1"};
  nodes.seconds(3);
  CHECK(nodes.log == std::vector<std::string>{"suspected node0 225", "missed node0 500",
                                              "suspected node1 1125", "missed node1 2500"});
}

capnp::Response<schema::ClusterControl::NodeResults> nodeIn(TestCluster& cluster,
                                                            const char* id = "node1") {
  auto request = cluster.control.nodeRequest();
  request.setId(id);
  return request.send().wait(cluster.world.waitScope());
}
// "down: no heartbeat for 2.5s"
std::string statusIn(TestCluster& cluster, const char* id = "node1") {
  static constexpr const char* STATES[] = {"unknown", "ready", "down"};
  auto response = nodeIn(cluster, id);
  auto node = response.getNode();
  std::string said = STATES[static_cast<size_t>(node.getState())];
  if (node.getMessage().size() > 0) said += std::string(": ") + node.getMessage().cStr();
  return said;
}

TEST_CASE("beats: a node that is down says why and since when, after a restart of the manager, too",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& silent = cluster.addNode("node1");
  auto& crashed = cluster.addNode("node2");
  auto& left = cluster.addNode("node3");
  auto& there = cluster.addNode("node4");
  for (auto node : {&silent, &crashed, &left, &there}) node->open();
  cluster.advance(5 * kj::SECONDS);
  auto before = cluster.world.env().nowNs();
  silent.beats = false;
  crashed.cut();
  left.close(true);
  cluster.advance(3 * kj::SECONDS);
  auto check = [&] {
    CHECK(statusIn(cluster, "node1") == "down: no heartbeat for 2.5s");
    CHECK(statusIn(cluster, "node2") == "down: connection closed");
    CHECK(statusIn(cluster, "node3") == "down: left");
    for (auto id : {"node1", "node2", "node3"}) {
      auto response = nodeIn(cluster, id);
      CHECK(response.getNode().getStateSinceNs() >= before);
      CHECK(response.getNode().getStateSinceNs() <= before + 3'000'000'000);
    }
  };
  check();
  CHECK(statusIn(cluster, "node4") == "ready");
  CHECK(nodeIn(cluster, "node4").getNode().getStateSinceNs() < before);
  cluster.stop();
  cluster.advance(1 * kj::HOURS);
  auto started = cluster.world.env().nowNs();
  cluster.start();
  check();
  CHECK(statusIn(cluster, "node4") == "unknown: not heard of since the manager started");
  CHECK(nodeIn(cluster, "node4").getNode().getStateSinceNs() >= started);
  cluster.addNode("node1").open();
  cluster.settle();
  CHECK(statusIn(cluster, "node1") == "ready");
  cluster.advance(20 * kj::SECONDS);
  CHECK(statusIn(cluster, "node4") == "down: not heard of since the manager started");
}

bool wasDown(TestCluster& cluster) {
  auto& events = cluster.host.events();
  return std::any_of(events.begin(), events.end(),
                     [](auto& event) { return event.topic == "node.down"; });
}

TEST_CASE("beats: nobody is called down while the store stands still for 40 s", "[manager]") {
  FourOnTwo world;
  auto& [cluster, one, two] = world;
  cluster.store.holdCommits(true);
  auto scaling = cluster.scaleAsync("web", 5).eagerlyEvaluate([](kj::Exception&&) {});
  for (int second = 0; second < 40; ++second) {
    cluster.advance(1 * kj::SECONDS);
    CHECK(statusIn(cluster, "node1").find("down") == std::string::npos);
  }
  cluster.store.holdCommits(false);
  cluster.advance(30 * kj::SECONDS);
  CHECK(statusIn(cluster, "node1") == "ready");
  CHECK(statusIn(cluster, "node2") == "ready");
  CHECK_FALSE(wasDown(cluster));
  CHECK(cluster.states("web", "shutdown") == "");
  CHECK(one.running() + two.running() >= 4);
}

TEST_CASE("beats: what was on its way when its node was taken for gone counts for nothing",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& one = cluster.addNode("node1");
  cluster.addNode("node2").open();
  one.open();
  Spec spec{"web", 2};
  spec.more = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().setTolerateDownMs(60'000);
  };
  cluster.create(spec);
  cluster.settle();
  REQUIRE(one.running() == 1);
  one.beats = false;
  cluster.advance(5 * kj::SECONDS);
  REQUIRE(statusIn(cluster).find("down") == 0);
  auto id = one.tasks.begin()->first;
  one.report(id, TaskState::FAILED);
  cluster.settle();
  CHECK(cluster.states("web", "") == "running running");
  // In its next session it is said again, and counts.
  one.beats = true;
  cluster.advance(2 * kj::SECONDS);
  CHECK(statusIn(cluster) == "ready");
  CHECK(cluster.states("web", "shutdown") == "failed");
}

TEST_CASE("beats: a manager that hangs for half a minute restarts nothing", "[manager]") {
  FourOnTwo world;
  auto& [cluster, one, two] = world;
  auto before = one.tasks.size() + two.tasks.size();
  cluster.world.standStill(30 * kj::SECONDS);
  cluster.advance(30 * kj::SECONDS);
  CHECK_FALSE(wasDown(cluster));
  CHECK(one.tasks.size() + two.tasks.size() == before);
  CHECK(cluster.states("web", "") == "running running running running");
}

TEST_CASE("beats: a day without changes writes nothing", "[manager]") {
  TestCluster cluster;
  cluster.start();
  cluster.addNode("node1").open();
  cluster.create({"web", 2});
  cluster.advance(1 * kj::HOURS);  // requests are forgotten
  auto commits = cluster.store.commits();
  auto events = cluster.host.events().size();
  cluster.advance(24 * kj::HOURS);
  CHECK(cluster.store.commits() == commits);
  CHECK(cluster.host.events().size() == events);
}

TEST_CASE("beats: a node that answers in its session is there, though no beat comes", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  node.beats = false;
  node.answersPing = true;
  cluster.advance(1 * kj::MINUTES);
  CHECK(statusIn(cluster) == "ready");
  node.answersPing = false;
  cluster.advance(3 * kj::SECONDS);
  CHECK(statusIn(cluster) == "down: no heartbeat for 2.5s");
}

}  // namespace
}  // namespace orch::control::manager
