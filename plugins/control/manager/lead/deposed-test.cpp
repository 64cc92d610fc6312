// What a leader answers that another one has taken the place of, which it has not heard of yet.
#include <catch2/catch.hpp>

#include "lead/test-lead-host.h"

namespace orch::control::manager {
namespace {

TEST_CASE("lead: one that has not heard yet that another one leads answers with what is now",
          "[manager]") {
  LeadFixture f("lead-reads");
  f.together();
  f.one.cut();
  REQUIRE(f.two.create("web").empty());
  f.one.mend();
  // Before it asks the store the next time.
  auto told = f.one.control.servicesRequest().send().wait(f.around.world.waitScope());
  REQUIRE(told.getServices().size() == 1);
  CHECK(told.getServices()[0].getName() == "web");
  CHECK(f.one.leader() == f.two.id);
}

TEST_CASE("lead: one that has not heard yet that another one leads refuses nothing by what was",
          "[manager]") {
  LeadFixture f("lead-refuses");
  f.together();
  f.one.cut();
  REQUIRE(f.two.create("web").empty());
  f.one.mend();
  // Before it asks the store the next time.
  auto scale = [&] {
    auto request = f.one.control.scaleServiceRequest();
    request.setRequestId("scale");
    request.setId("web");
    request.setReplicas(2);
    return attempt(request.send()).wait(f.around.world.waitScope());
  };
  auto refused = scale();
  REQUIRE(!refused.ok());
  CHECK(refused.error().getType() == kj::Exception::Type::DISCONNECTED);
  CHECK(scale().ok());
}

TEST_CASE("lead: what a manager knows that was deposed is of before that", "[manager]") {
  LeadFixture f("lead-old");
  f.together();
  f.one.cut();
  REQUIRE(f.two.create("web").empty());
  auto madeNs = f.around.world.env().nowNs();
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.one.lines("manager.deposed") == 1);
  f.around.store.disconnect();
  f.around.advance(4 * kj::SECONDS);
  auto& scope = f.around.world.waitScope();
  CHECK(f.one.control.servicesRequest().send().wait(scope).getServices().size() == 0);
  auto asOfNs = f.one.control.ageRequest().send().wait(scope).getAsOfNs();
  CHECK(asOfNs > 0);
  CHECK(asOfNs < madeNs);
}

TEST_CASE("lead: of one that learns from a read that another one leads, no read is of before",
          "[manager]") {
  LeadFixture f("lead-reads-deposed");
  f.together();
  f.one.cut();
  REQUIRE(f.two.create("web").empty());
  // It cannot ask that one either.
  kj::Vector<kj::Promise<void>> reads;
  for (int i = 0; i < 20; ++i) {
    auto asked = attempt(f.one.control.servicesRequest().send()).promise();
    reads.add(asked.then([](auto&& told) {
      if (told.ok() && told.value().getServices().size() == 0) CHECK(told.value().getAsOfNs() > 0);
    }));
  }
  for (auto& read : reads) read.wait(f.around.world.waitScope());
}

TEST_CASE("lead: a leader asks its store once for all who read at the same time", "[manager]") {
  LeadFixture f("lead-reads-together");
  f.together();
  REQUIRE(f.one.create("web").empty());
  auto before = f.around.store.elections();
  kj::Vector<kj::Promise<uint32_t>> reads;
  for (int i = 0; i < 100; ++i) {
    auto& asked = i % 2 == 0 ? f.one.control : f.two.control;
    reads.add(
        asked.servicesRequest().send().then([](auto&& told) { return told.getServices().size(); }));
  }
  for (auto& read : reads) CHECK(read.wait(f.around.world.waitScope()) == 1);
  CHECK(f.around.store.elections() - before <= 4);
}

}  // namespace
}  // namespace orch::control::manager
