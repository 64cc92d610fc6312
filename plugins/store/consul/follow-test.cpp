// Following over faults, and what is kept of the past.
#include <catch2/catch.hpp>

#include "lib/testing/follow-cases.h"
#include "lib/testing/load-cases.h"
#include "test-store.h"

namespace orch::store::consul {
namespace {

using conformance::Bench;
using conformance::Seen;

TEST_CASE("store.consul: following over faults", "[store][consul]") {
  for (auto& one : FOLLOW_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

TEST_CASE("store.consul: a follower leaves a server that has fallen silent", "[store][consul]") {
  followersLeaveTheSilent<Backend>();
}

TEST_CASE("store.consul: a load of many pages is of one moment, whatever is written meanwhile",
          "[store][consul]") {
  loadsShowOneMoment<Backend>();
}

TEST_CASE("store.consul: a follower that is far behind gets everything, however large",
          "[store][consul]") {
  OneNode<Backend> all("behind");
  Bench bench(all.node);
  uint64_t early = commitMany(all, bench, 0, 350);
  commitMany(all, bench, 350, 350);
  constexpr size_t LARGE = 150'000;
  uint64_t last = commitLarge(bench, LARGE);
  Seen seen, late, between;
  auto following = bench.follow(0, seen);
  auto fromEarly = bench.follow(early, late);
  // Of no batch: what it knows ends with the one before.
  auto fromBetween = bench.follow(early + 1, between);
  bench.await(seen, last);
  bench.await(late, last);
  bench.await(between, last);
  checkOnce(seen, 710);
  checkOnce(late, 360);
  CHECK((between.resyncs.empty() && between.revisions.size() + 1 >= late.revisions.size()));
  CHECK(late.changes.back()[0].value == std::string(LARGE, 'v'));
  // A load is of several pieces as well.
  checkLarge(bench, seen, LARGE, 720);
}

TEST_CASE("store.consul: of a large value that has changed again a follower reads the newest",
          "[store][consul]") {
  OneNode<Backend> all("large");
  Bench bench(all.node);
  uint64_t first = commitMany(all, bench, 0, 1);
  auto large = numberedPut(1, 150'000);
  large.expected = bench.mustCommit("large", {large});
  large.value = "small";
  uint64_t last = bench.mustCommit("again", {large});
  Seen seen;
  auto following = bench.follow(first, seen);
  bench.await(seen, last);
  CHECK(seen.resyncs == std::vector<uint64_t>{last});
  CHECK(seen.revisions.empty());
  uint64_t next = commitMany(all, bench, 10, 1);
  bench.await(seen, next);
  CHECK(seen.revisions == std::vector<uint64_t>{next});
}

TEST_CASE("store.consul: what others write below the prefix is no change", "[store][consul]") {
  OneNode<Backend> all("strange");
  Bench bench(all.node);
  strangersAreNoChange(all, bench);
}

TEST_CASE("store.consul: records of batches are kept for a while", "[store][consul]") {
  OneNode<Backend> all("history");
  Bench bench(all.node);
  CHECK(bench.find("in-vain") == 0);
  uint64_t first = commitMany(all, bench, 0, 1);
  constexpr int COMMITS = 1850;
  uint64_t last = commitMany(all, bench, 1, COMMITS - 1);
  auto keys = [&](const std::string& below) {
    auto text =
        all.servers.ctl({"kv", "get", "-keys", "-separator=", all.node.options.prefix + below});
    return static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
  };
  uint64_t most = ConsulStore::KEPT_BATCHES + ConsulStore::TRIM_EVERY;
  all.until("the old records to go",
            [&] { return keys("batch/") <= most && keys("change/") <= most; });
  CHECK(keys("batch/") >= ConsulStore::KEPT_BATCHES);
  CHECK(keys("change/") >= ConsulStore::KEPT_BATCHES);
  CHECK(keys("batch/in-vain") == 0);
  CHECK(bench.find("b" + std::to_string(COMMITS - 1)) == last);
  CHECK(bench.find("b" + std::to_string(COMMITS - 1000)) != 0);
  CHECK(bench.find("b0") == 0);
  CHECK(bench.load().objects.size() == COMMITS);
  // Who knows less than what is kept reads the state again.
  Seen seen, whole;
  auto following = bench.follow(first, seen);
  auto fromNothing = bench.follow(0, whole);
  bench.await(seen, last);
  bench.await(whole, last);
  CHECK((seen.resyncs == std::vector<uint64_t>{last} && seen.revisions.empty()));
  CHECK((whole.resyncs == std::vector<uint64_t>{last} && whole.revisions.empty()));
}

}  // namespace
}  // namespace orch::store::consul
