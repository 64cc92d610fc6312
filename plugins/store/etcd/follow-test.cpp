// Following over faults, and what is kept of the past.
#include <catch2/catch.hpp>

#include "history.h"
#include "lib/testing/follow-cases.h"
#include "lib/testing/load-cases.h"
#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "test-store.h"

namespace orch::store::etcd {
namespace {

using conformance::Bench;
using conformance::Seen;

TEST_CASE("store.etcd: following over faults", "[store][etcd]") {
  for (auto& one : FOLLOW_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

TEST_CASE("store.etcd: a follower leaves a server that has fallen silent", "[store][etcd]") {
  followersLeaveTheSilent<Backend>();
}

// etcd hands over 1,000 revisions at a time to those who are behind, cut into messages of some 2
// MiB.
TEST_CASE("store.etcd: a load of many pages is of one moment, whatever is written meanwhile",
          "[store][etcd]") {
  loadsShowOneMoment<Backend>();
}

TEST_CASE("store.etcd: a follower that is far behind gets everything, however large",
          "[store][etcd]") {
  OneNode<Backend> all("behind");
  Bench bench(all.node);
  commitMany(all, bench, 0, 1300);
  constexpr size_t LARGE = 550'000;
  uint64_t last = commitLarge(bench, LARGE);
  Seen seen;
  auto following = bench.follow(0, seen);
  bench.await(seen, last);
  checkOnce(seen, 1310);
  // A load is of several pages as well.
  checkLarge(bench, seen, LARGE, 1320);
}

TEST_CASE("store.etcd: a follower from before a compaction is told to resync, and goes on",
          "[store][etcd]") {
  OneNode<Backend> all("compacted");
  Bench bench(all.node);
  uint64_t first = commitMany(all, bench, 0, 5);
  uint64_t last = commitMany(all, bench, 5, 5);
  Seen current;
  auto upToDate = bench.follow(last, current);
  all.servers.ctl({"compaction", std::to_string(last)});
  Seen seen;
  auto following = bench.follow(first, seen);
  bench.await(seen, last);
  CHECK(seen.resyncs == std::vector<uint64_t>{last});
  CHECK(seen.revisions.empty());
  // Others' changes that are compacted away are no reason to read everything again.
  for (int i = 0; i < 5; ++i) all.servers.ctl({"put", "/others/key", std::to_string(i)});
  all.servers.ctl({"compaction", std::to_string(all.servers.revision())});
  Seen late;
  auto idle = bench.follow(last, late);
  uint64_t next = commitMany(all, bench, 10, 1);
  bench.await(seen, next);
  bench.await(late, next);
  bench.await(current, next);
  CHECK(seen.revisions == std::vector<uint64_t>{next});
  // Unless it is new, and the next change came before it looked: what was compacted could be its.
  bool told = late.revisions == std::vector<uint64_t>{next} && late.resyncs.empty();
  CHECK((told || late.resyncs == std::vector<uint64_t>{next}));
  CHECK((current.revisions == std::vector<uint64_t>{next} && current.resyncs.empty()));
}

TEST_CASE("store.etcd: what others write below the prefix is no change", "[store][etcd]") {
  OneNode<Backend> all("strange");
  Bench bench(all.node);
  strangersAreNoChange(all, bench);
}

TEST_CASE("store.etcd: records of batches are kept for a while, and overwritten keys as well",
          "[store][etcd]") {
  OneNode<Backend> all("history");
  testing::HeldTime time(*all.loop.env, all.loop.scope);
  auto options = all.node.options;
  options.historyMs = 300'000;
  Bench(all.node).load();  // etcd is there
  TestNode node(time, all.loop.scope, "etcd-history-held", options);
  Bench bench(node);
  uint64_t first = commitMany(all, bench, 0, 1);
  constexpr int COMMITS = 2200;
  uint64_t last = commitMany(all, bench, 1, COMMITS - 1);
  auto records = [&] {
    auto text = all.servers.ctl(
        {"get", "--prefix", node.options.prefix + "batch/", "--limit=1", "--write-out=fields"});
    return std::stoull(text.substr(text.find("\"Count\" : ") + 10));
  };
  uint64_t most = History::KEPT_RECORDS + History::TRIM_EVERY;
  all.until("the old records to go", [&] { return records() <= most; });
  CHECK(records() >= History::KEPT_RECORDS);
  CHECK(bench.find("b" + std::to_string(COMMITS - 1)) == last);
  CHECK(bench.find("b" + std::to_string(COMMITS - 1000)) != 0);
  CHECK(bench.find("b0") == 0);

  auto old = [&] {
    return attemptNow([&] { all.servers.ctl({"get", "x", "--rev=" + std::to_string(first - 1)}); });
  };
  CHECK(old().ok());
  time.advance(300 * kj::SECONDS);
  all.until("the history to go", [&] { return !old().ok(); });
  CHECK(bench.load().objects.size() == COMMITS);
}

}  // namespace
}  // namespace orch::store::etcd
