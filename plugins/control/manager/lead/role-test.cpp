// Managers that become workers, or are removed: who is left, and what they may do yet.
#include <catch2/catch.hpp>

#include <filesystem>

#include "lead/test-lead-host.h"

namespace orch::control::manager {
namespace {

TEST_CASE("roles: a manager can be demoted, the last one cannot", "[manager]") {
  LeadFixture f("lead-demoted");
  f.together();
  f.one.openAgent();
  f.around.settle();
  auto give = [&](const std::string& id, schema::Node::Role role) {
    auto request = f.two.control.updateNodeRequest();
    request.setRequestId(kj::str(id.c_str(), role));
    request.setId(id.c_str());
    request.initChange().getRole().setSet(role);
    auto done = attempt(request.send()).wait(f.around.world.waitScope());
    return std::string(done.ok() ? "" : done.message().cStr());
  };
  REQUIRE(f.two.kernel.holder.role == schema::Role::MANAGER);
  CHECK(give(f.two.id, schema::Node::Role::WORKER) == "");
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.two.kernel.holder.role == schema::Role::WORKER);
  CHECK(f.one.kernel.managers == std::vector{f.one.address});
  // Its certificate of before opens nothing of the leader's any more.
  CHECK_THAT(f.two.create("web"), Catch::Contains("is no manager of the cluster any more"));
  // The cluster's key it has only as long as it has not started again.
  auto key = f.two.folder.sub("control.manager.authority");
  CHECK(std::filesystem::exists(key.cStr()));
  f.two.stop();
  f.two.start();
  CHECK_FALSE(std::filesystem::exists(key.cStr()));
  auto request = f.one.control.updateNodeRequest();
  request.setRequestId("last");
  request.setId(f.one.id.c_str());
  request.initChange().getRole().setSet(schema::Node::Role::WORKER);
  auto refused = attempt(request.send()).wait(f.around.world.waitScope());
  REQUIRE(!refused.ok());
  CHECK_THAT(refused.message().cStr(), Catch::StartsWith("no other manager is ready"));
}

TEST_CASE("roles: who was just promoted is waited for before the other one goes", "[manager]") {
  LeadFixture f("lead-just-promoted");
  f.together();
  f.one.openAgent();
  f.around.settle();
  auto demote = [&](const std::string& id, const char* requestId) {
    auto request = f.one.control.updateNodeRequest();
    request.setRequestId(requestId);
    request.setId(id.c_str());
    request.initChange().getRole().setSet(schema::Node::Role::WORKER);
    return attempt(request.send().ignoreResult());
  };
  SECTION("it has its session, as it had when it was a worker") {
    f.two.stop();
    f.around.advance(1'500 * kj::MILLISECONDS);
    ScriptedNode again(f.around.world, f.one.dispatcher, f.two.id);
    again.open();
    f.around.settle();
    auto refused = demote(f.one.id, "first").wait(f.around.world.waitScope());
    REQUIRE_FALSE(refused.ok());
    CHECK_THAT(refused.message().cStr(), Catch::StartsWith("no other manager could lead"));
  }
  SECTION("both at once") {
    auto first = demote(f.one.id, "first").promise();
    auto second = demote(f.two.id, "second").promise();
    int done = first.wait(f.around.world.waitScope()).ok();
    done += second.wait(f.around.world.waitScope()).ok();
    CHECK(done == 1);
  }
}

TEST_CASE("roles: a node that starts again in another role has time for that", "[manager]") {
  LeadFixture f("roles-again");
  f.together();
  f.one.openAgent();
  f.around.settle();
  bool demoted = GENERATE(false, true), says = GENERATE(false, true);
  if (demoted) {
    auto request = f.one.control.updateNodeRequest();
    request.setRequestId("demote");
    request.setId(f.two.id.c_str());
    request.initChange().getRole().setSet(schema::Node::Role::WORKER);
    request.send().wait(f.around.world.waitScope());
    // A session that it opens before it starts again is still that of a manager.
    if (GENERATE(false, true)) f.two.openAgent();
  }
  if (says) f.two.agent->close(false);
  if (!says) f.two.agent->cut();
  f.around.advance(10 * kj::SECONDS);
  auto node = f.one.control.nodeRequest();
  node.setId(f.two.id.c_str());
  auto state = node.send().wait(f.around.world.waitScope()).getNode().getState();
  CHECK((state == schema::Node::State::DOWN) != demoted);
}

TEST_CASE("roles: one that was removed while it was away does not lead", "[manager]") {
  LeadFixture f("lead-removed");
  f.together();
  f.one.openAgent();
  f.around.settle();
  f.two.stop();
  auto demoting = f.one.control.updateNodeRequest();
  demoting.setRequestId("demote");
  demoting.setId(f.two.id.c_str());
  demoting.initChange().getRole().setSet(schema::Node::Role::WORKER);
  demoting.send().wait(f.around.world.waitScope());
  bool removed = GENERATE(false, true);
  if (removed) {
    auto removing = f.one.control.removeNodeRequest();
    removing.setRequestId("remove");
    removing.setId(f.two.id.c_str());
    removing.setForce(true);
    removing.send().wait(f.around.world.waitScope());
  }
  f.one.crash();
  f.one.cut();
  auto epoch = f.around.store.epoch();
  f.two.start();
  f.around.advance(60 * kj::SECONDS);
  CHECK(f.two.lines("this manager leads the cluster") == 0);
  CHECK(f.around.store.epoch() == epoch);
  CHECK(f.two.lines("manager.does-not-lead") == 1);
  f.one.mend();
  f.one.start();
  f.around.advance(5 * kj::SECONDS);
  CHECK(f.one.create("web") == "");
}

TEST_CASE("roles: one that was demoted has its own certificate signed, and nobody else's",
          "[manager]") {
  LeadFixture f("lead-renewals");
  f.together();
  f.one.openAgent();
  f.around.settle();
  auto opening = f.one.peers.at("manager").openRequest();
  opening.initPeer().setRole(schema::Role::MANAGER);
  opening.getPeer().setId(f.two.id.c_str());
  auto opened = opening.send().wait(f.around.world.waitScope());
  auto leader = opened.getService().castAs<schema::ManagerPeer>();
  auto why = [&](schema::Role role, const std::string& id) {
    auto request = leader.openRequest();
    request.setService("renewal");
    request.initPeer().setRole(role);
    request.getPeer().setId(id.c_str());
    auto done = attempt(request.send()).wait(f.around.world.waitScope());
    return std::string(done.ok() ? "" : done.message().cStr());
  };
  CHECK(why(schema::Role::MANAGER, f.one.id) == "");
  CHECK_THAT(why(schema::Role::ADMIN, "ann"), Catch::StartsWith("the admin 'ann' was removed"));
  auto demoting = f.one.control.updateNodeRequest();
  demoting.setRequestId("demote");
  demoting.setId(f.two.id.c_str());
  demoting.initChange().getRole().setSet(schema::Node::Role::WORKER);
  demoting.send().wait(f.around.world.waitScope());
  CHECK(why(schema::Role::MANAGER, f.two.id) == "");
  const std::string refused = "this node is no manager of the cluster any more";
  CHECK(why(schema::Role::MANAGER, f.one.id) == refused);
  CHECK(why(schema::Role::WORKER, "other") == refused);
  CHECK(why(schema::Role::ADMIN, "ann") == refused);
  CHECK(why(schema::Role::ADMIN, f.two.id) == refused);
}

}  // namespace
}  // namespace orch::control::manager
