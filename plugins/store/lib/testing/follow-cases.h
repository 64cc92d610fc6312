// Following over faults.
#pragma once

#include <catch2/catch.hpp>
#include <signal.h>

#include <algorithm>

#include "lib/testing/refusals.h"

namespace orch::store {

inline conformance::Change numberedPut(int number, size_t bytes = 10) {
  return conformance::Change{"task", "k" + std::to_string(number), 0, std::string(bytes, 'v')};
}

// Batches `b<from>` and so on, of one object each, at once; the last revision.
template <typename Backend>
uint64_t commitMany(OneNode<Backend>& all, conformance::Bench& bench, int from, int count) {
  std::vector<kj::Promise<conformance::Answer>> sent;
  for (int i = from; i < from + count; ++i) {
    sent.push_back(bench.send("b" + std::to_string(i), {numberedPut(i)}));
  }
  uint64_t last = 0;
  for (auto& promise : sent) {
    auto answer = promise.wait(all.loop.scope);
    REQUIRE(answer.kind == conformance::Answer::COMMITTED);
    last = answer.revision;
  }
  return last;
}

inline void checkOnce(const conformance::Seen& seen, size_t count) {
  CHECK(seen.resyncs.empty());
  CHECK(seen.revisions.size() == count);
  CHECK(std::is_sorted(seen.revisions.begin(), seen.revisions.end()));
  CHECK(std::adjacent_find(seen.revisions.begin(), seen.revisions.end()) == seen.revisions.end());
}

// Twenty objects in ten batches, two in each; the last revision. The last object is task/k5019.
inline uint64_t commitLarge(conformance::Bench& bench, size_t bytes) {
  uint64_t last = 0;
  for (int i = 0; i < 10; ++i) {
    last = bench.mustCommit("large" + std::to_string(i),
                            {numberedPut(5000 + 2 * i, bytes), numberedPut(5001 + 2 * i, bytes)});
  }
  return last;
}
// Nothing came after them: they are the last that the follower was told of, and are loaded whole.
inline void checkLarge(conformance::Bench& bench, const conformance::Seen& seen, size_t bytes,
                       size_t objects) {
  CHECK(seen.changes.back().size() == 2);
  CHECK(seen.changes.back()[1].value == std::string(bytes, 'v'));
  auto state = bench.load();
  CHECK((state.objects.size() == objects && state.revision == seen.revisions.back()));
  CHECK((state.objects[{"task", "k5019"}].value.size() == bytes));
}

template <typename Backend>
void followersMissNothing() {
  OneNode<Backend> all("follow");
  conformance::Bench bench(all.node);
  conformance::Seen seen;
  auto following = bench.follow(0, seen);
  for (int round = 0; round < 4; ++round) {
    commitMany(all, bench, round * 40, 40);
    all.servers.kill();
    all.servers.start();
  }
  uint64_t last = commitMany(all, bench, 160, 40);
  bench.await(seen, last);
  checkOnce(seen, 200);
  CHECK(seen.changes[0][0].value == std::string(10, 'v'));
}

template <typename Backend>
void followersMayBeThereFirst() {
  OneNode<Backend> all("before");
  conformance::Bench bench(all.node);
  auto second = all.another("2", all.node.options);
  conformance::Bench writer(second);
  REQUIRE(second.options.prefix == all.node.options.prefix);
  CHECK(bench.load().revision == 0);
  conformance::Seen seen;
  auto following = bench.follow(0, seen);
  bench.load();  // it has had its turn
  uint64_t first = writer.mustCommit("b1", {numberedPut(1)});
  bench.await(seen, first);
  checkOnce(seen, 1);
}

template <typename Backend>
constexpr SharedCase FOLLOW_CASES[] = {
    {"a follower misses nothing while the server is killed again and again",
     followersMissNothing<Backend>},
    {"a follower that is there before the state is told of its beginning",
     followersMayBeThereFirst<Backend>},
};

template <typename Backend>
void strangersAreNoChange(OneNode<Backend>& all, conformance::Bench& bench) {
  auto& loop = all.loop;
  uint64_t first = commitMany(all, bench, 0, 1);
  conformance::Seen seen;
  auto following = bench.follow(first, seen);
  auto keys = Backend::strangers(all.node.options.prefix);
  for (auto& key : keys) Backend::put(*loop.env, loop.scope, all.servers, key, "x");
  CHECK(bench.find("never") == 0);
  CHECK(bench.elect("m", 0).wait(loop.scope).won);
  uint64_t last = bench.mustCommit("b", {numberedPut(1)}, 1);
  bench.await(seen, last);
  CHECK(seen.revisions == std::vector<uint64_t>{last});
  // But a load says by name what is not orch's.
  auto refusal = loadRefusal(bench);
  CAPTURE(refusal);
  CHECK(refusal.starts_with(std::string("object 'task/stranger' in ") + Backend::TITLE + " at '"));
  CHECK(refusal.ends_with(Backend::removal(keys[0])));
  Backend::remove(*loop.env, loop.scope, all.servers, keys[0]);
  CHECK(bench.load().objects.size() == 2);
}

// Of those whose client goes to another server by itself.
template <typename Backend>
void followersLeaveTheSilent() {
  OneNode<Backend> all("silence", 3);
  auto& servers = all.servers;
  testing::HeldTime time(*all.loop.env, all.loop.scope);
  auto endpoint = [&](size_t index) { return Backend::endpoint(servers, index); };
  all.node.options.endpoints = {endpoint(0), endpoint(1)};
  conformance::Bench writer(all.node);
  auto name = kj::str(all.testName, "-following");
  TestNode<Backend> node(time, all.loop.scope, name,
                         optionsFor<Backend>({endpoint(2), endpoint(0)}));
  uint64_t first = writer.mustCommit("b1", {numberedPut(1)});
  conformance::Bench bench(node);
  conformance::Seen seen;
  auto following = bench.follow(0, seen);
  bench.await(seen, first);
  servers.signal(SIGSTOP, 2);
  uint64_t second = writer.mustCommit("b2", {numberedPut(2)});
  all.until("the change from another server", [&] {
    time.advance(20 * kj::MILLISECONDS);
    return seen.revisions.size() == 2;
  });
  CHECK(seen.revisions == std::vector<uint64_t>{first, second});
  servers.signal(SIGCONT, 2);
  uint64_t third = writer.mustCommit("b3", {numberedPut(3)});
  all.until("one more change", [&] {
    time.advance(1 * kj::MILLISECONDS);
    return seen.revisions.size() >= 3;
  });
  CHECK(seen.revisions == std::vector<uint64_t>{first, second, third});
  CHECK(seen.resyncs.empty());
}

}  // namespace orch::store
