// The edges of a simulated cluster are what they say: network, disk, clocks.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/testing/memory-network.h"
#include "orch/testing/memory-store.h"
#include "orch/testing/virtual-env.h"

namespace orch {
namespace {

using testing::LinkQuality;
using testing::MemoryNetwork;
using testing::MemoryStore;
using testing::VirtualWorld;

// Two machines, a connection between them, and what each end has read.
struct Pair {
  explicit Pair(uint64_t seed = testing::testSeed())
      : world(seed),
        network(world, seed),
        a(world.newMachine()),
        b(world.newMachine()),
        envA(a.begin(1, network.networkOf("a"))),
        envB(b.begin(1, network.networkOf("b"))) {
    network.addHost("a", a);
    network.addHost("b", b);
    auto address = envB.network().parseAddress("*:7").wait(scope());
    receiver = address->listen();
    auto accepting = receiver->acceptAuthenticated();
    ofA = envA.network().parseAddress("b:7").wait(scope())->connect().wait(scope());
    auto accepted = accepting.wait(scope());
    auto identity = accepted.peerIdentity.downcast<kj::NetworkPeerIdentity>();
    CHECK(identity->getAddress().toString() == "a");
    ofB = kj::mv(accepted.stream);
  }
  kj::WaitScope& scope() { return world.waitScope(); }
  void send(kj::StringPtr text) { ofA->write(text.begin(), text.size()).wait(scope()); }
  // What has arrived at `b` after so much time; "-" if it was reset.
  std::string arrives(kj::Duration within) {
    std::string got;
    auto reading = readAll(got).promise().eagerlyEvaluate(nullptr);
    world.advance(within);
    return got;
  }
  Task<void> readAll(std::string& got) {
    for (;;) {
      char buffer[64];
      auto read = co_await attempt(ofB->tryRead(buffer, 1, sizeof(buffer)));
      if (!read.ok()) got += "-";
      bool over = !read.ok() || read.value() == 0;
      if (over) co_return;
      got.append(buffer, read.value());
    }
  }
  void cut(kj::StringPtr from, kj::StringPtr to, bool cuts) {
    LinkQuality quality;
    quality.cut = cuts;
    network.setLink(from, to, quality);
  }

  VirtualWorld world;
  MemoryNetwork network;
  testing::VirtualMachine& a;
  testing::VirtualMachine& b;
  Env& envA;
  Env& envB;
  kj::Own<kj::ConnectionReceiver> receiver;
  kj::Own<kj::AsyncIoStream> ofA;
  kj::Own<kj::AsyncIoStream> ofB;
};

TEST_CASE("network: bytes come late, whole and in order", "[simulation]") {
  Pair pair;
  LinkQuality slow;
  slow.jitter = 50 * kj::MILLISECONDS;
  slow.lossPerMille = 300;
  pair.network.setLink("a", "b", slow);
  std::string all;
  for (int i = 0; i < 100; ++i) {
    auto text = kj::str(i, " ");
    all += text.cStr();
    pair.send(text);
  }
  CHECK(pair.arrives(100 * kj::MICROSECONDS) == "");
  CHECK(pair.arrives(60 * kj::SECONDS) == all);
}

TEST_CASE("network: what is cut comes when it heals, each direction by itself", "[simulation]") {
  Pair pair;
  pair.cut("a", "b", true);
  pair.send("one");
  CHECK(pair.arrives(5 * kj::SECONDS) == "");
  pair.cut("a", "b", false);
  CHECK(pair.arrives(1 * kj::SECONDS) == "one");
  pair.cut("b", "a", true);
  pair.send("two");
  CHECK(pair.arrives(1 * kj::SECONDS) == "two");
}

TEST_CASE("network: a process that ends is heard of, a host that loses power is not",
          "[simulation]") {
  Pair pair;
  SECTION("a process") {
    pair.send("last");
    pair.network.endLife("a", false);
    CHECK(pair.arrives(1 * kj::SECONDS) == "last");  // and the end
    char byte;
    CHECK(pair.ofB->tryRead(&byte, 1, 1).wait(pair.scope()) == 0);
  }
  SECTION("a host, until it is up again and is spoken to") {
    pair.network.endLife("a", true);
    pair.ofB->write("?", 1).wait(pair.scope());
    CHECK(pair.arrives(30 * kj::SECONDS) == "");
    pair.network.up("a");
    CHECK(pair.arrives(3 * kj::SECONDS) == "-");
  }
}

TEST_CASE("network: a writer waits for a reader who does not read", "[simulation]") {
  Pair pair;
  auto bytes = kj::heapArray<kj::byte>(300 << 10);
  memset(bytes.begin(), 'x', bytes.size());
  bool written = false;
  auto writing = pair.ofA->write(bytes.begin(), bytes.size())
                     .then([&] { written = true; })
                     .eagerlyEvaluate(nullptr);
  pair.world.advance(5 * kj::SECONDS);
  CHECK_FALSE(written);
  CHECK(pair.arrives(5 * kj::SECONDS).size() == bytes.size());
  CHECK(written);
}

TEST_CASE("machine: who is frozen reads and wakes when it is thawed", "[simulation]") {
  Pair pair;
  bool woke = false;
  auto sleeping = pair.envB.timer()
                      .afterDelay(1 * kj::SECONDS)
                      .then([&] { woke = true; })
                      .eagerlyEvaluate(nullptr);
  std::string got;
  auto reading = pair.readAll(got).promise().eagerlyEvaluate(nullptr);
  pair.b.freeze();
  pair.send("hello");
  pair.world.advance(5 * kj::SECONDS);
  CHECK_FALSE(woke);
  CHECK(got == "");
  pair.b.thaw();
  pair.network.awake("b");
  pair.world.settle();
  CHECK(woke);
  CHECK(got == "hello");
}

TEST_CASE("machine: clocks differ, and a life that is over sleeps for ever", "[simulation]") {
  VirtualWorld world(testing::testSeed());
  auto& machine = world.newMachine();
  machine.setClock(5'000'000'000, 1000);  // 5 s ahead, and a thousandth fast
  auto& env = machine.begin(1);
  int woken = 0;
  auto nap = [&] { return env.timer().afterDelay(100 * kj::SECONDS).then([&] { ++woken; }); };
  auto first = nap().eagerlyEvaluate(nullptr);
  world.advance(99 * kj::SECONDS);
  CHECK(woken == 0);
  world.advance(1 * kj::SECONDS);
  CHECK(woken == 1);  // after 99.9 s
  auto aheadNs = env.nowNs() - world.env().nowNs();
  CHECK(aheadNs > 5'000'000'000);
  CHECK(aheadNs <= 5'110'000'000);
  auto second = nap().eagerlyEvaluate(nullptr);
  machine.end(env);
  world.advance(1000 * kj::SECONDS);
  CHECK(woken == 1);
}

TEST_CASE("disk: a crash keeps what was synced, and answers nobody any more", "[simulation]") {
  VirtualWorld world(testing::testSeed());
  MemoryStore store;
  store.setDisk(world.env().timer(), [] { return 40 * kj::MILLISECONDS; });
  auto commit = [&](schema::Store::Client client, kj::StringPtr key) {
    auto request = client.commitRequest();
    auto batch = request.initBatch();
    batch.setId(key);
    auto op = batch.initOps(1)[0];
    op.setKind("thing");
    op.setKey(key);
    op.setPut(key.asBytes());
    return request.send().ignoreResult();
  };
  auto client = store.client();
  commit(client, "kept").wait(world.waitScope());
  bool answered = false;
  auto durable = commit(client, "durable").then([&] { answered = true; }).eagerlyEvaluate(nullptr);
  world.advance(35 * kj::MILLISECONDS);  // it is written, and not answered yet
  auto lost = commit(client, "lost").then([&] { answered = true; }).eagerlyEvaluate(nullptr);
  world.advance(1 * kj::MILLISECONDS);
  store.crash();
  world.advance(10 * kj::SECONDS);
  CHECK_FALSE(answered);
  CHECK(store.objects("thing") == 2);
  commit(store.client(), "next").wait(world.waitScope());
  CHECK(store.objects("thing") == 3);
}

}  // namespace
}  // namespace orch
