// How a catalog comes to have what a node runs, in virtual time.
#include "registrar.h"

#include <catch2/catch.hpp>

#include <set>

#include "orch/fail.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::integration::registrator {
namespace {

using Steps = std::vector<std::string>;

// Has what it is told, unless it is out of reach.
struct FakeCatalog final : public Catalog {
  explicit FakeCatalog(Env& env) : env(env) {}
  kj::String name() const override { return kj::str("the catalog"); }
  std::string placeOf(const ServiceEntry& entry) const override { return entry.id; }
  std::string recordOf(const ServiceEntry& entry) const override {
    ++compared;
    return entry.address;
  }
  Task<Records> list() override {
    co_await reached("list");
    co_return Records(own);
  }
  Task<std::string> put(ServiceEntry entry) override {
    co_await reached("put " + entry.id);
    if (entry.id == broken) fail(kj::str("the catalog has an error of its own"));
    if (others.count(entry.id) > 0) co_return std::string("it is another's");
    own[entry.id] = recordOf(entry);
    co_return std::string();
  }
  Task<void> remove(std::string place) override {
    co_await reached("remove " + place);
    own.erase(place);
  }
  Task<void> renew(std::vector<std::string> places) override {
    auto all = "renew " + std::to_string(places.size());
    co_await reached(all);
  }
  uint64_t renewMs() const override { return renewEveryMs; }
  Task<void> forgetNode(std::string) override { co_return; }

  Task<void> reached(std::string step) {
    steps.push_back(step);
    if (latency > 0 * kj::SECONDS) co_await env.timer().afterDelay(latency);
    if (away) fail(kj::str("the catalog does not answer"));
  }
  Steps taken() { return std::exchange(steps, {}); }

  Env& env;
  Records own, others;
  mutable uint32_t compared = 0;
  Steps steps;
  bool away = false;
  std::string broken;  // one that it always fails with
  uint64_t renewEveryMs = 0;
  kj::Duration latency = 0 * kj::SECONDS;
};

struct RegistrarFixture {
  explicit RegistrarFixture(uint64_t resyncMs = 0, bool cleanup = true)
      : log(host.client()),
        catalog(world.env()),
        registrar(kj::heap<Registrar>(world.env(), log, catalog, resyncMs, cleanup)) {}
  // With the address as the entry's last part: `web=10.0.0.1`.
  kj::Promise<void> becoming(const Steps& entries) {
    std::vector<ServiceEntry> all;
    for (auto& text : entries) {
      ServiceEntry entry;
      auto equals = text.find('=');
      entry.id = text.substr(0, equals);
      entry.address = text.substr(equals + 1);
      all.push_back(std::move(entry));
    }
    return registrar->become(std::move(all)).eagerlyEvaluate(nullptr);
  }
  void become(const Steps& entries) {
    auto done = becoming(entries);
    world.settle();
    REQUIRE(done.poll(world.waitScope()));
    done.wait(world.waitScope());
  }

  testing::VirtualWorld world{1};
  testing::TestHost host{"/data", "/run"};
  Log log;
  FakeCatalog catalog;
  kj::Own<Registrar> registrar;
};

TEST_CASE("registrar: writes what differs, and takes away first", "[registrator]") {
  RegistrarFixture test;
  test.catalog.own = {{"a", "1"}, {"b", "1"}, {"left", "1"}};
  test.world.settle();
  CHECK(test.catalog.taken().empty());  // nothing is known of the node yet
  test.become({"a=1", "b=2", "c=1"});
  CHECK(test.catalog.taken() == Steps{"list", "remove left", "put b", "put c"});
  test.become({"a=1", "b=2", "c=1"});
  CHECK(test.catalog.taken().empty());
  test.become({"d=1", "b=2", "c=1"});
  CHECK(test.catalog.taken() == Steps{"remove a", "put d"});
  test.become({});
  CHECK(test.catalog.own.empty());
}

TEST_CASE("registrar: one change among a thousand is one look and one call", "[registrator]") {
  RegistrarFixture test;
  Steps entries;
  for (int i = 0; i < 1000; ++i) entries.push_back(std::to_string(i) + "=1");
  test.become(entries);
  entries[0] = "0=2";
  test.become(entries);
  test.catalog.taken();
  entries[500] = "500=2";
  test.catalog.compared = 0;
  test.become(entries);
  CHECK(test.catalog.taken() == Steps{"put 500"});
  CHECK(test.catalog.compared <= 4);
}

TEST_CASE("registrar: without clean-up it takes away only what it has registered itself",
          "[registrator]") {
  RegistrarFixture test(0, false);
  test.catalog.own = {{"a", "1"}, {"left", "1"}};
  test.become({"a=2", "b=1"});
  CHECK(test.catalog.taken() == Steps{"list", "put a", "put b"});
  test.become({});
  CHECK(test.catalog.own == Catalog::Records{{"left", "1"}});
}

TEST_CASE("registrar: what others have registered is refused once, and left alone",
          "[registrator]") {
  RegistrarFixture test;
  test.catalog.others = {{"a", "9"}};
  test.become({"a=1", "b=1"});
  test.become({"a=1", "b=1", "c=1"});
  CHECK(test.catalog.taken() == Steps{"list", "put a", "put b", "put c"});
  CHECK(test.host.logLines() == Steps{"warn registrator.refused"});
  test.become({"b=1"});
  CHECK(test.catalog.taken() == Steps{"remove c"});
}

TEST_CASE("registrar: while the catalog does not answer nobody waits for it, and then it has all",
          "[registrator]") {
  RegistrarFixture test;
  test.become({"a=1"});
  test.catalog.taken();
  test.catalog.away = true;
  test.become({"b=1"});  // given up for now
  CHECK(test.host.logLines() == Steps{"warn registrator.out-of-reach, trying again"});
  test.catalog.latency = 60 * kj::SECONDS;
  test.world.advance(1 * kj::SECONDS);
  test.become({"c=1"});
  test.catalog.latency = 0 * kj::SECONDS;
  test.catalog.away = false;
  test.catalog.own = {{"a", "1"}, {"z", "1"}};
  test.world.advance(120 * kj::SECONDS);
  CHECK(test.catalog.own == Catalog::Records{{"c", "1"}});
  CHECK(test.host.logLines().back() == "info the catalog answers again");
  CHECK(test.host.logLines().size() == 2);
  test.become({"d=1"});
  CHECK(test.catalog.own == Catalog::Records{{"d", "1"}});
}

TEST_CASE("registrar: one that the catalog fails with keeps nobody from waiting for the others",
          "[registrator]") {
  RegistrarFixture test;
  test.catalog.broken = "a";
  test.become({"a=1", "b=1", "c=1"});
  CHECK(test.catalog.own == Catalog::Records{{"b", "1"}, {"c", "1"}});
  test.catalog.latency = 100 * kj::MILLISECONDS;
  auto leaving = test.becoming({"a=1", "b=1"});
  CHECK_FALSE(leaving.poll(test.world.waitScope()));
  test.world.advance(400 * kj::MILLISECONDS);
  CHECK(leaving.poll(test.world.waitScope()));
  CHECK(test.catalog.own == Catalog::Records{{"b", "1"}});
  test.catalog.broken = "";
  test.world.advance(10 * kj::SECONDS);
  CHECK(test.catalog.own == Catalog::Records{{"a", "1"}, {"b", "1"}});
}

// Entries come and go in random order while the catalog answers late, not at all, or forgets.
TEST_CASE("registrar: in the end the catalog has what runs, whatever happened to it",
          "[registrator]") {
  auto seed = testing::testSeed();
  for (uint64_t round = 0; round < 5; ++round) {
    CAPTURE(seed, round);
    RegistrarFixture test(2'000);
    auto random = [env = test.world.newEnv(seed * 1000 + round)](uint64_t below) mutable {
      return env->random() % below;
    };
    test.catalog.others = {{"7", "x"}, {"77", "x"}};
    std::set<std::string> wanted;
    std::vector<kj::Promise<void>> answers;
    for (int step = 0; step < 300; ++step) {
      auto id = std::to_string(random(100));
      if (wanted.insert(id).second == false) wanted.erase(id);
      Steps entries;
      for (auto& one : wanted) entries.push_back(one + "=" + std::to_string(random(30) == 0));
      answers.push_back(test.becoming(entries));
      if (random(20) == 0) test.catalog.away = !test.catalog.away;
      if (random(10) == 0) test.catalog.latency = random(50) * kj::MILLISECONDS;
      if (random(40) == 0) test.catalog.own.clear();
      if (random(40) == 0) test.catalog.own["left" + id] = "1";
      test.world.advance(random(100) * kj::MILLISECONDS);
    }
    test.catalog.away = false;
    Steps entries;
    for (auto& one : wanted) entries.push_back(one + "=2");
    answers.push_back(test.becoming(entries));
    test.world.advance(60 * kj::SECONDS);
    for (auto& answer : answers) CHECK(answer.poll(test.world.waitScope()));
    Catalog::Records expected;
    for (auto& one : wanted) {
      if (test.catalog.others.count(one) == 0) expected[one] = "2";
    }
    CHECK(test.catalog.own == expected);
    CHECK(test.catalog.others.size() == 2);
  }
}

TEST_CASE("registrar: what changes during a pass is answered by the next one", "[registrator]") {
  RegistrarFixture test;
  test.catalog.latency = 1 * kj::SECONDS;
  auto first = test.becoming({"a=1"});
  test.world.advance(1500 * kj::MILLISECONDS);  // it is being put
  auto second = test.becoming({});
  test.world.advance(1 * kj::SECONDS);
  CHECK(first.poll(test.world.waitScope()));
  CHECK_FALSE(second.poll(test.world.waitScope()));
  test.world.advance(2 * kj::SECONDS);
  CHECK(second.poll(test.world.waitScope()));
  CHECK(test.catalog.own.empty());
}

TEST_CASE("registrar: looks again, and tells of itself, as often as it is told to",
          "[registrator]") {
  RegistrarFixture test(30'000);
  test.catalog.renewEveryMs = 10'000;
  test.become({"a=1", "b=1"});
  CHECK(test.catalog.taken() == Steps{"list", "put a", "put b", "renew 2"});
  test.world.advance(25 * kj::SECONDS);
  CHECK(test.catalog.taken() == Steps{"renew 2", "renew 2"});
  test.catalog.own = {{"b", "9"}, {"left", "1"}};  // as by somebody else's hand
  test.world.advance(5 * kj::SECONDS);
  CHECK(test.catalog.taken() == Steps{"list", "remove left", "put a", "put b", "renew 2"});
}

}  // namespace
}  // namespace orch::integration::registrator
