#include "orch/conformance/store-conformance.h"

#include <kj/debug.h>

#include <algorithm>

#include "orch/attempt.h"
#include "store-bench.h"

namespace orch::conformance {

namespace {

std::string numbered(const char* name, uint64_t number) {
  auto text = std::to_string(number);
  return std::string(name) + std::string(text.size() < 6 ? 6 - text.size() : 0, '0') + text;
}

Change put(const std::string& key, uint64_t expected, const std::string& value) {
  return Change{"task", key, expected, value};
}
Change erase(const std::string& key, uint64_t expected) {
  return Change{"task", key, expected, "", true};
}

void emptyStore(StoreFixture& fixture) {
  Bench bench(fixture);
  KJ_REQUIRE(bench.maxOps >= 1, "a store takes at least one change per batch");
  KJ_REQUIRE(bench.maxBytes >= 1, "a store takes at least one byte per batch");
  auto state = bench.load();
  KJ_REQUIRE(state.objects.empty() && state.epoch == 0, "a fresh store has objects or an epoch");
}

void whatIsCommittedIsLoaded(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("b1", {{"task", "b", 0, "1"}, {"service", "z", 0, "2"}});
  KJ_REQUIRE(first > 0, "a revision is at least 1: 0 means that an object does not exist");
  uint64_t second = bench.mustCommit("b2", {{"task", "a", 0, "3"}, {"task", "b", first, "4"}});
  KJ_REQUIRE(second > first, "revisions grow with every commit");
  auto before = bench.load();
  KJ_REQUIRE(before.revision == second, "load tells the revision that it shows", before.revision);
  KJ_REQUIRE(before.objects.size() == 3);
  KJ_REQUIRE((before.objects[{"service", "z"}] == Stored{first, "2"}));
  KJ_REQUIRE((before.objects[{"task", "a"}] == Stored{second, "3"}));
  KJ_REQUIRE((before.objects[{"task", "b"}] == Stored{second, "4"}));
  bench.reopen();
  KJ_REQUIRE(bench.load() == before, "a restart changed the state");
  KJ_REQUIRE(bench.mustCommit("b3", {put("c", 0, "5")}) > second, "a restart lost the revision");
}

void deletedIsGone(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("b1", {put("a", 0, "1"), put("b", 0, "2")});
  bench.mustCommit("b2", {erase("a", first)});
  KJ_REQUIRE(bench.load().objects.size() == 1, "a deleted object is loaded");
  KJ_REQUIRE(bench.commit("b3", {erase("a", first)}).kind == Answer::REFUSED,
             "an object that is gone was deleted again");
  bench.mustCommit("b4", {put("a", 0, "new")});
  bench.reopen();
  auto state = bench.load();
  KJ_REQUIRE((state.objects[{"task", "a"}].value == "new") && state.objects.size() == 2);
}

void expectedRevisions(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("b1", {put("a", 0, "1"), put("b", 0, "2")});
  bench.mustCommit("b2", {put("a", first, "3")});
  auto before = bench.load();
  auto stale = bench.commit("b3", {put("b", first, "x"), put("a", first, "y")});
  KJ_REQUIRE(stale.kind == Answer::REFUSED, "a change to an object that has moved on");
  KJ_REQUIRE((stale.conflicts == std::vector<std::string>{"task/a"}),
             "conflicts name what has moved on, and only that");
  KJ_REQUIRE(!stale.reason.empty(), "a refusal has a reason");
  KJ_REQUIRE(bench.commit("b4", {put("b", 0, "x")}).kind == Answer::REFUSED,
             "0 means that the object must not exist");
  KJ_REQUIRE(bench.commit("b5", {put("new", first, "x")}).kind == Answer::REFUSED,
             "an object that does not exist has no revision");
  KJ_REQUIRE(bench.commit("b6", {erase("new", first)}).kind == Answer::REFUSED);
  KJ_REQUIRE(bench.load() == before, "a refused batch changed something");
  KJ_REQUIRE(bench.find("b3") == 0, "a refused batch counts as applied");
}

void limitsHold(StoreFixture& fixture) {
  Bench bench(fixture);
  std::vector<Change> changes;
  for (uint32_t i = 0; i < bench.maxOps; ++i) changes.push_back(put(numbered("k", i), 0, "v"));
  bench.mustCommit("full", changes);
  auto before = bench.load();
  KJ_REQUIRE(before.objects.size() == bench.maxOps);
  changes.clear();
  for (uint32_t i = 0; i <= bench.maxOps; ++i) changes.push_back(put(numbered("l", i), 0, "v"));
  auto tooMany = attempt(bench.send("many", changes)).wait(bench.waitScope);
  KJ_REQUIRE(!tooMany.ok() && tooMany.error().getType() == kj::Exception::Type::FAILED,
             "more than maxOps changes fail");
  uint64_t bytes = bench.maxBytes + 1;
  auto tooLarge =
      attempt(bench.send("large", {put("l", 0, std::string(bytes, 'x'))})).wait(bench.waitScope);
  KJ_REQUIRE(!tooLarge.ok() && tooLarge.error().getType() == kj::Exception::Type::FAILED,
             "more than maxBytes fail");
  KJ_REQUIRE(bench.load() == before, "a batch over the limits changed something");
}

void anyValue(StoreFixture& fixture) {
  Bench bench(fixture);
  std::string bytes;
  for (int i = 0; i < 1024; ++i) bytes.push_back(static_cast<char>(i * 7));
  std::string large(bench.maxBytes / 2, '\xff');
  bench.mustCommit("b1", {put("empty", 0, ""), put("bytes", 0, bytes), put("a/b ü", 0, "odd")});
  bench.mustCommit("b2", {put("large", 0, large)});
  bench.reopen();
  auto state = bench.load();
  KJ_REQUIRE((state.objects[{"task", "empty"}].revision > 0));
  KJ_REQUIRE((state.objects[{"task", "empty"}].value.empty()));
  KJ_REQUIRE((state.objects[{"task", "bytes"}].value == bytes));
  KJ_REQUIRE((state.objects[{"task", "large"}].value == large));
  KJ_REQUIRE((state.objects[{"task", "a/b ü"}].value == "odd"));
}

void elections(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("b1", {put("a", 0, "1")}, 0);
  auto one = bench.elect("manager-1", 0);
  auto two = bench.elect("manager-2", 0);
  auto winner = one.wait(bench.waitScope);
  auto loser = two.wait(bench.waitScope);
  KJ_REQUIRE(winner.won && winner.epoch == 1 && winner.leader == "manager-1");
  KJ_REQUIRE(!loser.won && loser.epoch == 1 && loser.leader == "manager-1",
             "of two candidates for one epoch one wins, and the other learns who");
  auto late = bench.commit("b2", {put("a", first, "2")}, 0);
  KJ_REQUIRE(late.kind == Answer::REFUSED && late.epoch == 1,
             "a commit of an old epoch is refused");
  KJ_REQUIRE(bench.commit("b3", {put("a", first, "2")}, 2).kind == Answer::REFUSED,
             "a commit of an epoch that is not yet is refused");
  bench.reopen();
  auto state = bench.load();
  KJ_REQUIRE(state.epoch == 1, "a restart lost the epoch");
  KJ_REQUIRE((state.objects[{"task", "a"}] == Stored{first, "1"}));
  auto behind = bench.elect("manager-2", 0).wait(bench.waitScope);
  KJ_REQUIRE(!behind.won && behind.leader == "manager-1", "a restart lost the leader");
  auto next = bench.elect("manager-2", 1).wait(bench.waitScope);
  KJ_REQUIRE(next.won && next.epoch == 2 && next.leader == "manager-2");
  bench.mustCommit("b4", {put("a", first, "2")}, 2);
  auto far = bench.elect("manager-1", 2, 1000).wait(bench.waitScope);
  KJ_REQUIRE(far.won && far.epoch == 1000,
             "an election raises the epoch to the least one asked for");
  auto after = bench.elect("manager-2", 1000, 7).wait(bench.waitScope);
  KJ_REQUIRE(after.won && after.epoch == 1001, "an epoch never falls");
}

void batchesAreFound(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("the-first", {put("a", 0, "1")});
  KJ_REQUIRE(bench.find("the-first") == first);
  KJ_REQUIRE(bench.find("another") == 0);
  uint64_t last = first;
  constexpr int REMEMBERED = 1000;
  for (int i = 0; i < REMEMBERED - 1;) {
    kj::Vector<kj::Promise<Answer>> some;
    for (int n = 0; n < 50 && i < REMEMBERED - 1; ++n, ++i) {
      some.add(bench.send(numbered("batch", i), {put(numbered("k", i), 0, "v")}));
    }
    for (auto& promise : some) last = promise.wait(bench.waitScope).revision;
  }
  KJ_REQUIRE(bench.find("the-first") == first, "the last 1,000 batches are remembered");
  bench.reopen();
  KJ_REQUIRE(bench.find("the-first") == first, "a restart lost what was applied");
  KJ_REQUIRE(bench.find(numbered("batch", REMEMBERED - 2)) == last);
}

void manyAtOnce(StoreFixture& fixture) {
  Bench bench(fixture);
  std::vector<kj::Promise<Answer>> promises;
  constexpr int COUNT = 40;
  for (int i = 0; i < COUNT; ++i) {
    // Every fourth is refused, which hurts no other.
    uint64_t expected = i % 4 == 3 ? 77 : 0;
    promises.push_back(bench.send(numbered("b", i), {put(numbered("k", i), expected, "v")}));
  }
  uint64_t last = 0;
  for (int i = 0; i < COUNT; ++i) {
    auto answer = promises[i].wait(bench.waitScope);
    KJ_REQUIRE(answer.kind == (i % 4 == 3 ? Answer::REFUSED : Answer::COMMITTED), i);
    if (answer.kind == Answer::REFUSED) continue;
    KJ_REQUIRE(answer.revision > last,
               "batches are applied in call order, each at its own revision");
    last = answer.revision;
  }
  promises.clear();
  for (int i = 0; i < COUNT; ++i) {
    promises.push_back(bench.send(numbered("race", i), {put("race", 0, numbered("v", i))}));
  }
  int won = 0;
  for (auto& promise : promises) {
    won += promise.wait(bench.waitScope).kind == Answer::COMMITTED ? 1 : 0;
  }
  KJ_REQUIRE(won == 1, "of those who create one object exactly one wins", won);
  KJ_REQUIRE(bench.load().objects.size() == COUNT / 4 * 3 + 1);
}

// Commits from within the load, to objects that were loaded and to those that were not.
class MeddlingSink final : public schema::ObjectSink::Server {
 public:
  MeddlingSink(Bench& bench, std::vector<uint64_t>& revisions)
      : bench(bench), revisions(revisions) {}
  kj::Promise<void> objects(ObjectsContext context) override {
    for (auto object : context.getParams().getObjects()) revisions.push_back(object.getRevision());
    if (meddled) return kj::READY_NOW;
    meddled = true;
    auto old = revisions[0];
    return bench
        .send("meddle", {put(numbered("k", 0), old, "new"), put(numbered("k", 3), old, "new")})
        .then([](Answer&& answer) {
          KJ_REQUIRE(answer.kind == Answer::COMMITTED, "a load keeps others from writing");
        });
  }

 private:
  Bench& bench;
  std::vector<uint64_t>& revisions;
  bool meddled = false;
};

void loadIsOneMoment(StoreFixture& fixture) {
  Bench bench(fixture);
  std::vector<Change> changes;
  uint32_t objects = kj::min(bench.maxOps, 8u);
  KJ_REQUIRE(objects >= 4, "this check needs batches of 4");
  // Large enough that no store hands them over in one piece.
  uint64_t size = kj::min(bench.maxBytes / objects / 2, uint64_t(1) << 20);
  for (uint32_t i = 0; i < objects; ++i) {
    changes.push_back(put(numbered("k", i), 0, std::string(size, 'x')));
  }
  uint64_t revision = bench.mustCommit("b1", changes);
  std::vector<uint64_t> revisions;
  auto request = bench.store.loadRequest();
  request.setSink(kj::heap<MeddlingSink>(bench, revisions));
  auto response = request.send().wait(bench.waitScope);
  KJ_REQUIRE(response.getRevision() == revision, "load shows the state of one revision");
  KJ_REQUIRE(revisions == std::vector<uint64_t>(objects, revision),
             "load mixes objects of two revisions");
  KJ_REQUIRE((bench.load().objects[{"task", numbered("k", 3)}].value == "new"));
}

void followersSeeEverything(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("b1", {put("a", 0, "1"), put("b", 0, "2")});
  uint64_t second = bench.mustCommit("b2", {put("a", first, "3")});
  Seen all, later;
  auto everything = bench.follow(0, all);
  auto fromSecond = bench.follow(first, later);
  bench.await(all, second);
  bench.await(later, second);
  bench.commit("refused", {put("a", 99, "x")});
  uint64_t third = bench.mustCommit("b3", {erase("b", first), put("c", 0, "4")});
  std::vector<kj::Promise<Answer>> more;
  for (int i = 0; i < 200; ++i)
    more.push_back(bench.send(numbered("m", i), {put(numbered("m", i), 0, "v")}));
  uint64_t last = 0;
  for (auto& promise : more) last = promise.wait(bench.waitScope).revision;
  bench.await(all, last);
  bench.await(later, last);
  KJ_REQUIRE(all.resyncs.empty() && later.resyncs.empty());
  KJ_REQUIRE(all.revisions.size() == 203, "every commit is told, a refused one is not",
             all.revisions.size());
  KJ_REQUIRE(later.revisions.size() == 202, later.revisions.size());
  KJ_REQUIRE(std::is_sorted(all.revisions.begin(), all.revisions.end()));
  KJ_REQUIRE(all.revisions[0] == first && all.revisions[1] == second && all.revisions[2] == third);
  KJ_REQUIRE(later.revisions[0] == second && later.revisions[1] == third);
  KJ_REQUIRE(all.changes[0].size() == 2 && all.changes[0][1].key == "b");
  KJ_REQUIRE(all.changes[0][1].value == "2" && !all.changes[0][1].remove);
  KJ_REQUIRE(all.changes[2][0].remove && all.changes[2][0].key == "b");
  KJ_REQUIRE(all.changes[2][1].value == "4" && all.changes[2][1].kind == "task");
}

void followersFromAnotherHistory(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("b1", {put("a", 0, "1")});
  Seen seen;
  auto subscription = bench.follow(first + 1000, seen);
  bench.await(seen, first);
  KJ_REQUIRE(seen.resyncs == std::vector<uint64_t>{first},
             "who follows from a revision that is not yet reads the state again");
  uint64_t second = bench.mustCommit("b2", {put("a", first, "2")});
  bench.await(seen, second);
  KJ_REQUIRE(seen.revisions == std::vector<uint64_t>{second}, "after a resync changes go on");
}

// What whoever is elected has to know before it acts.
void followersSeeTheEndOfAnEpoch(StoreFixture& fixture) {
  Bench bench(fixture);
  uint64_t first = bench.mustCommit("b1", {put("a", 0, "1")});
  Seen seen, late;
  auto subscription = bench.follow(first, seen);
  // On their way when the epoch ends: each is applied before that, or refused.
  std::vector<kj::Promise<Answer>> before;
  auto send = [&](int i) {
    before.push_back(bench.send(numbered("m", i), {put(numbered("m", i), 0, "v")}));
  };
  for (int i = 0; i < 20; ++i) send(i);
  auto election = bench.elect("manager-1", 0);
  for (int i = 20; i < 40; ++i) send(i);
  KJ_REQUIRE(election.wait(bench.waitScope).won);
  uint64_t end = bench.mustCommit("end", {}, 1);
  std::vector<uint64_t> applied;
  for (auto& promise : before) {
    auto answer = promise.wait(bench.waitScope);
    if (answer.kind == Answer::COMMITTED) applied.push_back(answer.revision);
  }
  applied.push_back(end);
  bench.await(seen, end);
  KJ_REQUIRE(seen.revisions == applied && seen.resyncs.empty(),
             "all that an epoch has committed comes before the first commit of the next one");
  KJ_REQUIRE(seen.changes.back().empty(), "a batch without changes is told as one");
  KJ_REQUIRE(bench.load().revision == end, "a batch without changes has a revision");
  auto again = bench.follow(first, late);
  bench.await(late, end);
  KJ_REQUIRE(late.revisions == applied && late.resyncs.empty(),
             "who follows later is told the same");
  uint64_t next = bench.mustCommit("next", {put("a", first, "2")}, 1);
  bench.await(seen, next);
  bench.await(late, next);
  applied.push_back(next);
  KJ_REQUIRE(seen.revisions == applied && late.revisions == applied);
}

// Small: equal on every machine, and a failure names the seed.
uint64_t nextRandom(uint64_t& state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return state >> 33;
}

void likeAModel(StoreFixture& fixture) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Bench bench(fixture);
    State model;
    uint64_t random = seed;
    for (int step = 0; step < 150; ++step) {
      std::map<std::string, Change> chosen;
      uint64_t count = 1 + nextRandom(random) % kj::min(bench.maxOps, 12u);
      bool valid = true;
      for (uint64_t i = 0; i < count; ++i) {
        auto key = numbered("k", nextRandom(random) % 40);
        auto found = model.objects.find({"task", key});
        uint64_t expected = found == model.objects.end() ? 0 : found->second.revision;
        if (nextRandom(random) % 40 == 0) ++expected;
        bool remove = expected != 0 && nextRandom(random) % 3 == 0;
        auto value = remove ? "" : numbered("v", nextRandom(random));
        chosen[key] = Change{"task", key, expected, value, remove};
      }
      std::vector<Change> changes;
      for (auto& [key, change] : chosen) {
        auto found = model.objects.find({"task", key});
        valid =
            valid && change.expected == (found == model.objects.end() ? 0 : found->second.revision);
        changes.push_back(change);
      }
      auto answer = bench.commit(numbered("b", step), changes);
      KJ_REQUIRE((answer.kind == Answer::COMMITTED) == valid, "the store and its model disagree",
                 seed, step, answer.reason.c_str());
      if (!valid) continue;
      model.revision = answer.revision;
      for (auto& change : changes) {
        auto name = std::make_pair(change.kind, change.key);
        if (change.remove) {
          model.objects.erase(name);
        } else {
          model.objects[name] = Stored{answer.revision, change.value};
        }
      }
    }
    KJ_REQUIRE(bench.load() == model, "the store and its model differ", seed);
    bench.reopen();
    KJ_REQUIRE(bench.load() == model, "the store and its model differ after a restart", seed);
  }
}

constexpr StoreCheck CHECKS[] = {
    {"a fresh store is empty", &emptyStore},
    {"what is committed is loaded, also after a restart", &whatIsCommittedIsLoaded},
    {"what is deleted is gone", &deletedIsGone},
    {"a batch decided on what has changed since is refused whole", &expectedRevisions},
    {"a batch over the limits fails and changes nothing", &limitsHold},
    {"values are kept to the byte", &anyValue},
    {"one candidate wins an epoch, and older ones cannot commit", &elections},
    {"the last 1,000 batches are found", &batchesAreFound},
    {"many commits at once are applied in order, the refused ones not", &manyAtOnce},
    {"a load shows one moment while others commit", &loadIsOneMoment},
    {"a follower sees every commit once and in order", &followersSeeEverything},
    {"a follower from another history is told to resync", &followersFromAnotherHistory},
    {"a follower sees all of an epoch before the next one's first commit",
     &followersSeeTheEndOfAnEpoch},
    {"random batches do what they do to a model", &likeAModel},
};

}  // namespace

kj::ArrayPtr<const StoreCheck> storeChecks() { return kj::arrayPtr(CHECKS, kj::size(CHECKS)); }

}  // namespace orch::conformance
