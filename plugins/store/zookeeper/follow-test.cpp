// Following over faults, and what is kept of the past.
#include <catch2/catch.hpp>

#include "lib/testing/follow-cases.h"
#include "lib/testing/load-cases.h"
#include "orch/attempt.h"
#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

using conformance::Bench;
using conformance::Change;
using conformance::Seen;

TEST_CASE("store.zookeeper: following over faults", "[store][zookeeper]") {
  for (auto& one : FOLLOW_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

TEST_CASE("store.zookeeper: a load of many pages is of one moment, whatever is written meanwhile",
          "[store][zookeeper]") {
  loadsShowOneMoment<Backend>();
}

TEST_CASE("store.zookeeper: a follower misses nothing while its session ends and a new one begins",
          "[store][zookeeper]") {
  OneNode<Backend> all("follow-session");
  TestRelay relay(all.loop.io, all.servers.port());
  auto options = optionsFor<Backend>({relay.endpoint()});
  options.sessionMs = 500;
  TestNode cut(*all.loop.env, all.loop.scope, "zk-follow-cut", options);
  Bench bench(all.node);
  Bench follower(cut);
  REQUIRE(cut.options.prefix == all.node.options.prefix);
  uint64_t last = commitMany(all, bench, 0, 1);
  Seen seen;
  auto following = follower.follow(0, seen);
  follower.await(seen, last);
  TestClient other(*all.loop.env, all.loop.scope, all.servers.endpoints());
  for (int round = 0; round < 3; ++round) {
    relay.cut();
    all.until("the connection to be lost", [&] {
      auto& lines = cut.running().logLines();
      return std::count(lines.begin(), lines.end(), "warn store.connection-lost, retrying") > round;
    });
    last = commitMany(all, bench, 1 + round * 20, 20);
    // The servers' own watch over sessions goes in steps of a tick: by then this one is over.
    bool over = false;
    auto ending =
        all.loop.env->timer().afterDelay(1500 * kj::MILLISECONDS).then([&] { over = true; });
    auto background = ending.eagerlyEvaluate(nullptr);
    all.until("the session to be over", [&] { return over; });
    relay.reach();
    follower.await(seen, last);
  }
  checkOnce(seen, 61);
}

TEST_CASE("store.zookeeper: a follower gets large values that no record has",
          "[store][zookeeper]") {
  OneNode<Backend> all("large");
  Bench bench(all.node);
  constexpr size_t LARGE = 250'000;
  uint64_t last = commitLarge(bench, LARGE);
  Seen seen;
  auto following = bench.follow(0, seen);
  bench.await(seen, last);
  checkOnce(seen, 10);
  checkLarge(bench, seen, LARGE, 20);
  // One that was overwritten is nowhere any more.
  last = bench.mustCommit("over", {Change{"task", "k5000", 1, "small"}});
  Seen late;
  auto behind = bench.follow(0, late);
  bench.await(late, last);
  CHECK(late.resyncs == std::vector<uint64_t>{last});
  CHECK(late.revisions.empty());
}

TEST_CASE("store.zookeeper: what others write below the prefix is no change",
          "[store][zookeeper]") {
  OneNode<Backend> all("strange");
  Bench bench(all.node);
  strangersAreNoChange(all, bench);
  // A load names a node with a name that is no object's as well, and one whose value was changed.
  Layout layout(all.node.options.prefix);
  TestClient other(*all.loop.env, all.loop.scope, all.servers.endpoints());
  other.put(layout.folder(0) + "/odd", "x");
  CHECK(loadRefusal(bench).starts_with("a node that is no object's in ZooKeeper at '"));
  other.remove(layout.folder(0) + "/odd");
  auto good = other.get(layout.object("task:k0"));
  other.put(layout.object("task:k0"), good + "!");
  CHECK(loadRefusal(bench).starts_with("object 'task/k0' in ZooKeeper at '"));
}

TEST_CASE("store.zookeeper: records of batches are kept for a while", "[store][zookeeper]") {
  OneNode<Backend> all("history");
  Bench bench(all.node);
  constexpr int COMMITS = 1900;
  uint64_t first = commitMany(all, bench, 0, 1);
  Seen seen;
  auto following = bench.follow(0, seen);
  uint64_t last = commitMany(all, bench, 1, COMMITS - 1);
  bench.await(seen, last);
  checkOnce(seen, COMMITS);
  Layout layout(all.node.options.prefix);
  TestClient other(*all.loop.env, all.loop.scope, all.servers.endpoints());
  uint64_t most = KEPT_RECORDS + TRIM_EVERY;
  for (auto& folder : {layout.batches(), layout.changes()}) {
    all.until("the old records to go", [&] { return other.children(folder).size() <= most; });
    CHECK(other.children(folder).size() >= KEPT_RECORDS);
  }
  CHECK(bench.find("b" + std::to_string(COMMITS - 1)) == last);
  CHECK(bench.find("b" + std::to_string(COMMITS - 1000)) != 0);
  CHECK(bench.find("b0") == 0);
  // Who was away for too long reads everything again, and goes on.
  Seen late;
  auto behind = bench.follow(first, late);
  bench.await(late, last);
  CHECK(late.resyncs == std::vector<uint64_t>{last});
  uint64_t next = commitMany(all, bench, COMMITS, 1);
  bench.await(late, next);
  CHECK(late.revisions == std::vector<uint64_t>{next});
  // Another node finds them, and what is too old it removes as well.
  bench.reopen();
  CHECK(bench.find("b" + std::to_string(COMMITS - 1)) == last);
  commitMany(all, bench, COMMITS + 1, 2 * static_cast<int>(TRIM_EVERY));
  all.until("the old records to go",
            [&] { return other.children(layout.changes()).size() <= most; });
  CHECK(bench.load().objects.size() == COMMITS + 1 + 2 * TRIM_EVERY);
}

}  // namespace
}  // namespace orch::store::zookeeper
