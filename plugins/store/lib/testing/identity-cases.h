// A state that is not the one that the node knows is refused by name, and nodes that share one do
// not lose each other's changes.
#pragma once

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>

#include "lib/testing/refusals.h"
#include "orch/attempt.h"

namespace orch::store {

template <typename Backend>
void anOldCopyIsRefused() {
  OneNode<Backend> all("old-copy");
  conformance::Bench bench(all.node);
  uint64_t before = bench.mustCommit("b1", {newObject("a")});
  all.servers.kill();
  all.servers.keepFiles();
  all.servers.start();
  uint64_t after = bench.mustCommit("b2", {newObject("b")});
  all.servers.kill();
  all.servers.restoreFiles();
  all.servers.start();
  auto words = "has gone back to revision " + std::to_string(before) + " and epoch 0";
  // It would fit: the object does not exist there.
  CHECK(says(commitRefusal(bench, "b3"), words));
  auto refusal = loadRefusal(bench);
  CHECK(says(refusal, words));
  CHECK(says(refusal, "this node knew revision " + std::to_string(after)));
  bench.reopen();
  CHECK(says(loadRefusal(bench), words));
  CHECK(says(commitRefusal(bench, "b3"), words));
  CHECK(says(loadRefusal(bench), std::string("remove '") + all.node.knownFile().cStr() + "'"));
  auto there = [&](const char* key) {
    auto& prefix = all.node.options.prefix;
    return Backend::holds(*all.loop.env, all.loop.scope, all.servers, prefix, key);
  };
  CHECK((there("a") && !there("b3")));

  all.node.close();
  std::filesystem::remove(all.node.knownFile().cStr());
  bench.reopen();
  auto state = bench.load();
  CHECK((state.revision == before && state.objects.size() == 1));
  bench.mustCommit("b3", {newObject("c")});
}

template <typename Backend>
void whatTheNodeKnewIsReadWhole() {
  OneNode<Backend> all("known");
  conformance::Bench bench(all.node);
  bench.mustCommit("b1", {newObject("a")});
  all.node.close();
  std::string path = all.node.knownFile().cStr();
  REQUIRE(std::filesystem::exists(path));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  auto outcome = attemptNow([&] { bench.reopen(); });
  REQUIRE(!outcome.ok());
  CAPTURE(outcome.message().cStr());
  CHECK(says(outcome.message().cStr(), path));
  CHECK(says(outcome.message().cStr(), "remove it if the state that is there is the right one"));
  all.node.close();
  std::filesystem::remove(path);
  bench.reopen();
  CHECK(bench.load().objects.size() == 1);
}

template <typename Backend>
void emptyServersAreRefused() {
  OneNode<Backend> all("emptied");
  conformance::Bench bench(all.node);
  bench.mustCommit("b1", {newObject("a")});
  all.servers.kill();
  all.servers.wipe();
  all.servers.start();
  CHECK(says(loadRefusal(bench), "has no state, but this node knew revision"));
  CHECK(says(commitRefusal(bench, "b2"), "has no state, but this node knew revision"));
  bench.reopen();
  CHECK(says(loadRefusal(bench), "has no state, but this node knew revision"));
  CHECK(says(commitRefusal(bench, "b2"), "has no state, but this node knew revision"));
  CHECK(Backend::isEmpty(*all.loop.env, all.loop.scope, all.servers));
}

template <typename Backend>
void anotherClustersStateIsRefused() {
  OneNode<Backend> all("another");
  auto stranger = all.another("stranger", all.node.options);
  conformance::Bench strangers(stranger);
  strangers.mustCommit("b1", {newObject("a")});
  conformance::Bench bench(all.node);
  // The fixture gave both the same prefix.
  REQUIRE(all.node.options.prefix == stranger.options.prefix);
  CHECK(bench.load().objects.size() == 1);
  all.node.options.prefix = Backend::prefix(1000);
  bench.reopen();
  CHECK(says(loadRefusal(bench), "has no state, but this node knew"));
  auto third = all.another("third", all.node.options);
  third.reopened();
  auto request = third.running().store.findRequest();
  request.setBatchId("any");
  request.send().wait(all.loop.scope);  // which makes a state there
  CHECK(says(loadRefusal(bench), "', another cluster's: this node knew revision"));
  CHECK(says(commitRefusal(bench, "b2"), "another cluster's"));
}

template <typename Backend>
void twoNodesRace() {
  using conformance::Answer;
  OneNode<Backend> all("race");
  conformance::Bench one(all.node);
  auto second = all.another("2", all.node.options);
  conformance::Bench other(second);
  REQUIRE(all.node.options.prefix == second.options.prefix);
  conformance::Seen seen;
  auto following = other.follow(0, seen);
  auto counter = [](uint64_t expected, const std::string& value) {
    return conformance::Change{"task", "counter", expected, value};
  };
  uint64_t revision = one.mustCommit("start", {counter(0, "0")});
  int value = 0;
  for (int round = 0; round < 100; ++round) {
    auto next = std::to_string(value + 1);
    auto name = std::to_string(round);
    auto mine = one.send("one" + name, {counter(revision, next), newObject("o" + name)});
    auto theirs = other.send("two" + name, {counter(revision, next), newObject("t" + name)});
    auto first = mine.wait(all.loop.scope);
    auto last = theirs.wait(all.loop.scope);
    REQUIRE((first.kind == Answer::COMMITTED) != (last.kind == Answer::COMMITTED));
    auto& loser = first.kind == Answer::COMMITTED ? last : first;
    CHECK(loser.conflicts == std::vector<std::string>{"task/counter"});
    revision = std::max(first.revision, last.revision);
    ++value;
  }
  auto state = one.load();
  CHECK(state.objects.size() == 101);
  CHECK((state.objects[{"task", "counter"}].value == "100"));
  CHECK(other.load() == state);
  other.await(seen, revision);
  CHECK(seen.revisions.size() == 101);

  // Of two candidates one leads, and the other's commits are refused from then on.
  auto won = one.elect("node-1", 0);
  auto lost = other.elect("node-2", 0);
  auto first = won.wait(all.loop.scope);
  auto last = lost.wait(all.loop.scope);
  CHECK(first.won != last.won);
  CHECK((first.epoch == 1 && last.epoch == 1 && first.leader == last.leader));
  auto old = other.commit("old", {newObject("old")}, 0);
  CHECK((old.kind == Answer::REFUSED && old.epoch == 1));
}

template <typename Backend>
void overtakenReadsAreNoStepBack() {
  OneNode<Backend> all("overtaken");
  conformance::Bench bench(all.node);
  bench.mustCommit("start", {conformance::Change{"task", "large", 0, std::string(300'000, 'v')}});
  for (int round = 0; round < 60; ++round) {
    auto name = std::to_string(round);
    std::vector<kj::Promise<void>> reads;
    for (int i = 0; i < 4; ++i) {
      auto finding = bench.store.findRequest();
      finding.setBatchId("start");
      reads.push_back(finding.send().ignoreResult());
    }
    auto committed = bench.send("b" + name, {newObject("a" + name)});
    auto more = bench.send("c" + name, {newObject("c" + name)});
    CHECK(bench.load().objects.size() > 0);
    for (auto& read : reads) CHECK_NOTHROW(read.wait(all.loop.scope));
    CHECK(committed.wait(all.loop.scope).kind == conformance::Answer::COMMITTED);
    CHECK(more.wait(all.loop.scope).kind == conformance::Answer::COMMITTED);
  }
}

template <typename Backend>
void otherPrefixesAreNotSeen() {
  OneNode<Backend> all("prefixes");
  conformance::Bench one(all.node);
  auto second = all.another("2", all.node.options);
  conformance::Bench first(second);  // the same prefix, to be left
  conformance::Bench other(second);
  REQUIRE(all.node.options.prefix != second.options.prefix);
  conformance::Seen seen;
  auto following = other.follow(0, seen);
  one.mustCommit("b1", {newObject("a")});
  CHECK(one.elect("m", 0).wait(all.loop.scope).won);
  CHECK(other.load().objects.empty());
  CHECK(other.load().epoch == 0);
  CHECK(other.find("b1") == 0);
  uint64_t mine = other.mustCommit("b1-of-another", {newObject("a")});
  other.await(seen, mine);
  CHECK(seen.revisions == std::vector<uint64_t>{mine});
  CHECK(one.load().objects.size() == 1);
}

template <typename Backend>
constexpr SharedCase IDENTITY_CASES[] = {
    {"an old copy of the state is refused, under way and after a restart",
     anOldCopyIsRefused<Backend>},
    {"what the node knew is read whole or refused by name", whatTheNodeKnewIsReadWhole<Backend>},
    {"empty servers in place of a known state are refused", emptyServersAreRefused<Backend>},
    {"another cluster's state is refused", anotherClustersStateIsRefused<Backend>},
    {"two nodes on one state race, and none of their changes is lost", twoNodesRace<Backend>},
    {"reads that commits overtake are no step back", overtakenReadsAreNoStepBack<Backend>},
    {"clusters with other prefixes do not see each other", otherPrefixesAreNotSeen<Backend>},
};

}  // namespace orch::store
