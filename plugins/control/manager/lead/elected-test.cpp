// One that followed, and is elected: it leads with its copy of the state, brought to its end, or
// reads all of it anew.
#include <catch2/catch.hpp>

#include "lead/test-lead-host.h"

namespace orch::control::manager {
namespace {

constexpr const char* LEADS = "this manager leads the cluster";

// The first leads, and the second has a copy.
struct Followed : LeadFixture {
  explicit Followed(const char* name) : LeadFixture(name) {
    together();
    REQUIRE(one.create("web").empty());
    around.advance(1 * kj::SECONDS);
    loads = around.store.loads();
    epoch = around.store.epoch();
  }
  void loseFirst() {
    one.stop();
    one.cut();
  }
  // The second is elected, and has not come to the end of its copy.
  void electSecond() {
    loseFirst();
    around.advance(1'500 * kj::MILLISECONDS);
    REQUIRE(around.store.epoch() == epoch + 1);
    REQUIRE(two.lines(LEADS) == 0);
  }
  void electAnother() {
    StoreClient client(around.world.env(), around.store.client(), 1 * kj::SECONDS);
    auto won = client.elect("another", epoch + 1).wait(around.world.waitScope());
    REQUIRE(won.won);
  }
  uint64_t loaded() const { return around.store.loads() - loads; }
  uint64_t loads = 0, epoch = 0;
};

TEST_CASE("elected: one that followed leads with what it has", "[manager]") {
  Followed f("elected");
  f.loseFirst();
  CHECK_THAT(f.two.create("web"), Catch::StartsWith("service 'web' exists already"));
  CHECK(f.two.lines(LEADS) == 1);
  CHECK(f.loaded() == 0);
}

TEST_CASE("elected: what is on its way to it is there when it leads", "[manager]") {
  Followed f("elected-late");
  f.around.store.holdFollowers(true);
  REQUIRE(f.one.create("last").empty());
  f.electSecond();
  f.around.store.holdFollowers(false);
  CHECK_THAT(f.two.create("last"), Catch::StartsWith("service 'last' exists already"));
  CHECK(f.loaded() == 0);
}

TEST_CASE("elected: what does not come to it is loaded", "[manager]") {
  Followed f("elected-loads");
  f.around.store.holdFollowers(true);
  REQUIRE(f.one.create("last").empty());
  f.electSecond();
  SECTION("since it takes too long") {}
  SECTION("since the store knows of no followers any more") { f.around.store.dropFollowers(); }
  SECTION("since its records are gone") {
    f.around.store.forgetRecords();
    f.around.store.holdFollowers(false);
  }
  CHECK_THAT(f.two.create("last"), Catch::StartsWith("service 'last' exists already"));
  CHECK(f.two.lines(LEADS) == 1);
  CHECK(f.loaded() == 1);
}

TEST_CASE("elected: where nothing can be written it loads", "[manager]") {
  Followed f("elected-full");
  f.around.store.holdElections(true);
  f.loseFirst();
  f.around.advance(1 * kj::SECONDS);
  f.around.store.inject(testing::MemoryStore::Fault::REFUSE);
  f.around.store.holdElections(false);
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.two.lines(LEADS) == 1);
  CHECK(f.loaded() == 1);
  CHECK(f.two.create("next").empty());
}

TEST_CASE("elected: a first commit that was applied without an answer is one", "[manager]") {
  Followed f("elected-unknown");
  f.around.store.holdElections(true);
  f.loseFirst();
  f.around.advance(1 * kj::SECONDS);
  f.around.store.inject(testing::MemoryStore::Fault::UNKNOWN_APPLIED);
  f.around.store.holdElections(false);
  CHECK(f.two.create("next").empty());
  CHECK(f.loaded() == 0);
}

TEST_CASE("elected: if another one is elected before it leads, it does not", "[manager]") {
  Followed f("elected-again");
  SECTION("before its first commit") {
    f.around.store.holdCommits(true);
    f.electSecond();
    f.electAnother();
    f.around.store.holdCommits(false);
  }
  SECTION("after it") {
    f.around.store.holdFollowers(true);
    f.electSecond();
    f.electAnother();
    auto request = f.around.store.client().commitRequest();
    request.initBatch().setId("another");
    request.setEpoch(f.epoch + 2);
    REQUIRE(request.send().wait(f.around.world.waitScope()).getResult().isCommitted());
    f.around.advance(1 * kj::SECONDS);  // it loads, and finds the epoch
  }
  f.around.advance(300 * kj::MILLISECONDS);
  CHECK(f.two.lines(LEADS) == 0);
  CHECK(f.two.lines("manager.does-not-lead") == 1);
}

TEST_CASE("elected: one that is not elected keeps its copy, and follows who is", "[manager]") {
  Followed f("elected-not");
  LeadHost three(f.around, f.hosts, "elected-not", '3');
  REQUIRE(three.join(f.one, f.one.secret().c_str()).empty());
  three.start();
  f.around.advance(2 * kj::SECONDS);
  f.loads = f.around.store.loads();
  // Both want to be.
  f.around.store.holdElections(true);
  f.loseFirst();
  f.around.advance(3 * kj::SECONDS);
  f.around.store.holdElections(false);
  f.around.advance(5 * kj::SECONDS);
  CHECK(f.two.lines(LEADS) + three.lines(LEADS) == 1);
  CHECK(f.two.leader() == three.leader());
  CHECK(f.loaded() == 0);
  auto& last = f.two.lines(LEADS) == 1 ? three : f.two;
  auto& first = f.two.lines(LEADS) == 1 ? f.two : three;
  REQUIRE(first.create("next").empty());
  f.around.advance(1 * kj::SECONDS);
  first.stop();
  first.cut();
  CHECK_THAT(last.create("next"), Catch::StartsWith("service 'next' exists already"));
  CHECK(f.loaded() == 0);
}

TEST_CASE("elected: a copy that a change does not fit leads nobody", "[manager]") {
  Followed f("elected-damaged");
  f.around.store.holdFollowers(true);
  f.commitLacking();
  f.electSecond();
  f.around.store.holdFollowers(false);
  f.around.advance(2 * kj::SECONDS);
  CHECK(f.two.lines(LEADS) == 0);
  CHECK_THAT(f.two.create("next"), Catch::Contains("there is its status, but not the object"));
}

}  // namespace
}  // namespace orch::control::manager
