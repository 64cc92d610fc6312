// What becomes of the connection to a leader that has missed beats, and of who else was asked.
#include <catch2/catch.hpp>

#include "lead/test-lead-host.h"

namespace orch::control::manager {
namespace {

// The second one's node, as its leader has it.
bool isReady(LeadFixture& f) {
  auto request = f.one.control.nodeRequest();
  request.setId(f.two.id.c_str());
  auto response = request.send().wait(f.around.world.waitScope());
  return response.getNode().getState() == schema::Node::State::READY;
}

// What the leader is asked is late, until its follower has given it up.
void missBeats(LeadFixture& f) {
  auto before = f.two.lines("manager.leader-lost");
  f.one.delay();
  for (int i = 0; f.two.lines("manager.leader-lost") == before; ++i) {
    REQUIRE(i < 200);
    f.around.advance(10 * kj::MILLISECONDS);
  }
}

TEST_CASE("lead: the session of a node goes on when its manager misses beats of the leader",
          "[manager]") {
  LeadFixture f("lead-kept");
  f.together();
  REQUIRE(f.one.connections() == 1);
  auto sessions = f.two.agent->completeSets;
  SECTION("and finds it again by another connection") {
    missBeats(f);
    CHECK(f.one.connections() == 2);
    f.one.deliver();
    f.around.advance(10 * kj::SECONDS);
    CHECK(f.one.connections() == 2);
  }
  SECTION("and finds it again by the one that it had") {
    f.one.refuse();
    missBeats(f);
    f.one.deliver();
    f.around.advance(10 * kj::SECONDS);
    CHECK(f.one.connections() == 1);
  }
  SECTION("time and again") {
    for (int times = 1; times <= 5; ++times) {
      missBeats(f);
      CHECK(f.one.connections() <= 3);
      f.one.deliver();
      f.around.advance(2 * kj::SECONDS);
    }
    CHECK(f.one.connections() == 2);
  }
  CHECK(f.two.agent->completeSets == sessions);
  CHECK(f.one.leader() == f.one.id);
  CHECK(isReady(f));
  CHECK(f.two.lines("this manager follows the leader") == 1 + f.two.lines("manager.leader-lost"));
}

TEST_CASE("lead: a connection to the leader that stays silent is given up", "[manager]") {
  LeadFixture f("lead-silent");
  f.together();
  auto sessions = f.two.agent->completeSets;
  missBeats(f);
  CHECK(f.one.connections() == 2);
  f.around.advance(2 * kj::SECONDS);
  CHECK(f.two.agent->completeSets == sessions);
  f.around.advance(5 * kj::SECONDS);
  CHECK(f.one.connections() == 1);
  CHECK(f.two.agent->completeSets == sessions + 1);
  CHECK(isReady(f));
}

TEST_CASE("lead: when somebody else leads no connection to the former leader is kept",
          "[manager]") {
  LeadFixture f("lead-kept-not");
  f.together();
  f.one.refuse();
  missBeats(f);
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.two.leader() == f.two.id);
  CHECK(f.one.connections() == 0);
}

TEST_CASE("lead: once the leader is found no other manager is asked", "[manager]") {
  LeadFixture f("lead-asked");
  f.together();
  LeadHost three(f.around, f.hosts, "lead-asked", '3');
  REQUIRE(three.join(f.one, f.one.secret().c_str()).empty());
  three.start();
  f.around.advance(2 * kj::SECONDS);
  REQUIRE(three.lines("this manager follows the leader") == 1);
  auto tried = three.tried;
  f.around.advance(5 * kj::SECONDS);
  CHECK(three.tried == tried);
}

}  // namespace
}  // namespace orch::control::manager
