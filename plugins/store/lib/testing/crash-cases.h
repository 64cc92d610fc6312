// Servers are killed, stopped and started again under the plugin, and answers are lost.
#pragma once

#include <catch2/catch.hpp>
#include <signal.h>

#include <map>

#include "lib/testing/test-node.h"
#include "orch/attempt.h"

namespace orch::store {

inline conformance::Change change(const std::string& key, uint64_t expected = 0) {
  return conformance::Change{"task", key, expected, "value of " + key};
}

template <typename Backend>
void losesNothingWhenKilled() {
  OneNode<Backend> all("killed");
  conformance::Bench bench(all.node);
  std::map<std::string, uint64_t> committed;
  int number = 0;
  for (int round = 0; round < 6; ++round) {
    std::vector<std::pair<std::string, kj::Promise<conformance::Answer>>> sent;
    for (int i = 0; i < 30; ++i) {
      auto key = "k" + std::to_string(number++);
      sent.emplace_back(key, bench.send("batch-" + key, {change(key)}));
    }
    for (int i = 0; i < 30; ++i) {
      if (i == round * 5) {
        all.servers.kill();
        all.servers.start();
      }
      auto answer = sent[i].second.wait(all.loop.scope);
      INFO(answer.reason);
      REQUIRE(answer.kind == conformance::Answer::COMMITTED);
      committed[sent[i].first] = answer.revision;
    }
    all.servers.kill();
    all.servers.start();
  }
  auto state = bench.load();
  CHECK(state.objects.size() == committed.size());
  for (auto& [key, revision] : committed) {
    CHECK((state.objects[{"task", key}] == conformance::Stored{revision, "value of " + key}));
    CHECK(bench.find("batch-" + key) == revision);
  }
}

template <typename Backend>
void lookingUpEndsAllDoubt() {
  HeldNode<Backend> held("unknown");
  conformance::Bench bench(*held.node);
  uint64_t first = bench.mustCommit("first", {change("a")});
  held.servers.signal(SIGSTOP);
  auto pending = bench.send("doubtful", {change("b"), change("a", first)});
  CHECK(!pending.poll(held.loop.scope));
  held.time.advance(5 * kj::SECONDS);
  auto answer = pending.wait(held.loop.scope);
  CHECK(answer.kind == conformance::Answer::UNKNOWN);
  CAPTURE(answer.reason);
  CHECK(answer.reason.find(std::string(Backend::TITLE) + " at '" +
                           Backend::endpoint(held.servers, 0) + "' does not answer: ") == 0);
  held.servers.signal(SIGCONT);
  // It may be taken before or after it is asked for, but not both.
  auto finding = bench.store.findRequest();
  finding.setBatchId("doubtful");
  auto found = held.settle("the look-up", finding.send().then([](auto&& response) {
    return response.getFound() ? response.getRevision() : 0;
  }));
  auto later = held.settle("a later commit", bench.send("later", {change("c")}));
  CHECK(later.kind == conformance::Answer::COMMITTED);
  auto state = bench.load();
  CHECK(state.objects.contains({"task", "b"}) == (found != 0));
  CHECK((state.objects[{"task", "a"}].revision == (found != 0 ? found : first)));
  CHECK(bench.find("doubtful") == found);
}

template <typename Backend>
void lookedUpInVainIsNeverApplied() {
  HeldNode<Backend> held("fenced");
  conformance::Bench bench(*held.node);
  CHECK(bench.find("late") == 0);
  uint64_t first = bench.mustCommit("first", {change("z")});
  auto answer = bench.commit("late", {change("a")});
  CHECK(answer.kind == conformance::Answer::REFUSED);
  CHECK(answer.reason.find("batch 'late' was given up") == 0);
  CHECK(answer.conflicts.empty());
  // What was given up is no revision of the state.
  auto state = bench.load();
  CHECK((state.objects.size() == 1 && state.revision == first));
  uint64_t revision = bench.mustCommit("twice", {change("a")});
  auto again = bench.commit("twice", {change("b")});
  CHECK(again.kind == conformance::Answer::REFUSED);
  CHECK(again.reason ==
        "batch 'twice' was applied already, as revision " + std::to_string(revision));
}

// The worst that a network can do: the request comes when nobody waits for it any more.
template <typename Backend>
void latecomersChangeNothing() {
  HeldNode<Backend> held("late");
  typename Backend::Relay relay(held.loop.io, Backend::port(held.servers, 0));
  TestNode<Backend> direct(*held.loop.env, held.loop.scope, kj::str(held.testName, "-direct"),
                           held.node->options);
  conformance::Bench other(direct);
  held.node->options.endpoints = {Backend::endpoint(relay)};
  conformance::Bench bench(*held.node);
  REQUIRE(held.node->options.prefix == direct.options.prefix);
  uint64_t first = bench.mustCommit("first", {change("a")});
  relay.holdRequests();
  auto pending = bench.send("late", {change("b"), change("a", first)});
  testing::until(*held.loop.env, held.loop.scope, "the request on its way",
                 [&] { return relay.holds(); });
  CHECK(!pending.poll(held.loop.scope));
  held.time.advance(5 * kj::SECONDS);
  CHECK(pending.wait(held.loop.scope).kind == conformance::Answer::UNKNOWN);
  testing::until(*held.loop.env, held.loop.scope, "the request to be held",
                 [&] { return relay.held() >= 1; });
  CHECK(other.find("late") == 0);
  Backend::passRefused(relay, held.loop.scope);
  auto state = other.load();
  CHECK(state.objects.size() == 1);
  CHECK((state.objects[{"task", "a"}].revision == first));
  CHECK(other.find("late") == 0);
  auto next = held.settle("a commit", bench.send("next", {change("a", first)}));
  CHECK(next.kind == conformance::Answer::COMMITTED);
}

template <typename Backend>
void lostAnswersAreKnown() {
  OneNode<Backend> all("lost-answers");
  typename Backend::Relay relay(all.loop.io, Backend::port(all.servers, 0));
  auto node = all.another("relayed", optionsFor<Backend>({Backend::endpoint(relay)}));
  conformance::Bench watcher(all.node);
  conformance::Bench bench(node);
  conformance::Seen seen;
  auto following = watcher.follow(0, seen);
  uint64_t revision = 0;
  for (int lost = 0; lost < 4; ++lost) {
    auto name = std::to_string(lost);
    relay.loseAnswers(lost);
    revision = bench.mustCommit("b" + name, {change("counter", revision), change("k" + name)});
    CHECK(bench.find("b" + name) == revision);
    // Whatever is refused was never done, although nobody knew after its first try.
    relay.loseAnswers(lost);
    auto refused = bench.commit("r" + name, {change("counter", 9999), change("r" + name)});
    CHECK(refused.kind == conformance::Answer::REFUSED);
    CHECK(refused.conflicts == std::vector<std::string>{"task/counter"});
    CHECK(bench.find("r" + name) == 0);
  }
  CHECK(relay.lost() == 12);
  relay.loseAnswers(1);
  auto won = bench.elect("me", 0).wait(all.loop.scope);
  CHECK((won.won && won.epoch == 1 && won.leader == "me"));
  // Of an election that was won before, nobody can tell any more.
  relay.loseAnswers(1);
  auto late = bench.elect("me", 0).wait(all.loop.scope);
  CHECK((late.epoch == 1 && late.leader == "me"));
  relay.loseAnswers(3);
  CHECK(bench.load().objects.size() == 5);
  watcher.await(seen, revision);
  CHECK(seen.revisions.size() == 4);
}

template <typename Backend>
void withoutMostNothingIsDone() {
  HeldNode<Backend> held("quorum", 3);
  auto& servers = held.servers;
  size_t third = Backend::follower(servers);
  size_t one = (third + 1) % 3, two = (third + 2) % 3;
  conformance::Bench bench(*held.node);
  auto first = held.settle("the first commit", bench.send("b1", {change("a")}));
  REQUIRE(first.kind == conformance::Answer::COMMITTED);
  // Most have it; the third must have it too, for it misses what comes now.
  auto thirdAnswers = [&] {
    return Backend::answersOld(servers, third, held.node->options.prefix);
  };
  testing::until(*held.loop.env, held.loop.scope, "the first commit at the third", thirdAnswers);
  servers.signal(SIGSTOP, third);
  auto second = held.settle("the commit at two servers", bench.send("b2", {change("b")}));
  REQUIRE(second.kind == conformance::Answer::COMMITTED);
  servers.kill(one);
  servers.kill(two);
  servers.signal(SIGCONT, third);
  auto stale = attempt(held.node->running().store.loadRequest().send()).promise();
  auto pending = bench.send("b3", {change("c")});
  // It has time to answer: whoever does not mind old answers gets one.
  testing::until(*held.loop.env, held.loop.scope, "an old answer of the third", thirdAnswers);
  CHECK(!stale.poll(held.loop.scope));
  CHECK(!pending.poll(held.loop.scope));
  // A load waits for each of its steps, and for the connection.
  auto outcome = held.settle("the end of the load", kj::mv(stale));
  REQUIRE(!outcome.ok());
  CAPTURE(outcome.message().cStr());
  CHECK(outcome.message().startsWith(
      kj::str(Backend::TITLE, " at '", Backend::endpoint(servers, 0).c_str())));
  CHECK(outcome.message().endsWith(Backend::NO_QUORUM));
  auto doubtful = held.settle("the end of the commit", kj::mv(pending));
  CHECK(doubtful.kind != conformance::Answer::COMMITTED);
  servers.start(one);
  servers.start(two);
  Backend::follower(servers);
  auto last = held.settle("a commit after most are back", bench.send("b4", {change("d")}));
  CHECK(last.kind == conformance::Answer::COMMITTED);
  auto state = bench.load();
  CHECK(state.objects.contains({"task", "b"}));
  CHECK(state.objects.contains({"task", "c"}) == (bench.find("b3") != 0));
}

template <typename Backend>
void aKilledPluginLeavesNoHalf() {
  OneNode<Backend> all("plugin-killed");
  all.node.options.isolation = testing::Isolation::PROCESS;
  conformance::Bench bench(all.node);
  bench.mustCommit("first", {change("first")});
  std::map<std::string, uint64_t> answered;
  std::vector<std::string> keys;
  for (int round = 0; round < 8; ++round) {
    std::vector<kj::Promise<Outcome<conformance::Answer>>> sent;
    for (int i = 0; i < 20; ++i) {
      auto key = std::to_string(round) + "-" + std::to_string(i);
      keys.push_back(key);
      auto sending = bench.send("b" + key, {change("x" + key), change("y" + key)});
      sent.push_back(attempt(kj::mv(sending)).promise());
    }
    // After so many answers, in the midst of the next.
    for (int i = 0; i < round; ++i) {
      auto outcome = sent[i].wait(all.loop.scope);
      REQUIRE(outcome.ok());
      answered[keys[keys.size() - 20 + i]] = outcome.value().revision;
    }
    all.node.running().file().kill(all.loop.scope);
    sent.clear();
    all.node.abandon();
    bench.reopen();
  }
  auto state = bench.load();
  size_t applied = 0;
  for (auto& key : keys) {
    auto revision = bench.find("b" + key);
    if (answered.contains(key)) CHECK(revision == answered[key]);
    CHECK(state.objects.contains({"task", "x" + key}) == (revision != 0));
    CHECK(state.objects.contains({"task", "y" + key}) == (revision != 0));
    if (revision != 0) ++applied;
  }
  CHECK(applied >= answered.size());
  CHECK(state.objects.size() == 2 * applied + 1);
}

template <typename Backend>
constexpr SharedCase CRASH_CASES[] = {
    {"nothing acknowledged is lost when a server is killed between and under commits",
     losesNothingWhenKilled<Backend>},
    {"without most servers nothing is committed and nothing old is read",
     withoutMostNothingIsDone<Backend>},
    {"a plugin that is killed between a request and its answer leaves no half",
     aKilledPluginLeavesNoHalf<Backend>},
};

template <typename Backend>
constexpr SharedCase DOUBT_CASES[] = {
    {"a commit without an answer is unknown, and looking it up ends all doubt",
     lookingUpEndsAllDoubt<Backend>},
    {"a batch that was looked up in vain is never applied", lookedUpInVainIsNeverApplied<Backend>},
    {"a commit that comes after it was looked up in vain changes nothing",
     latecomersChangeNothing<Backend>},
    {"what was done is known although its answer was lost, and is done once",
     lostAnswersAreKnown<Backend>},
};

}  // namespace orch::store
