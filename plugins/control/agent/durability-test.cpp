// What the agent's store has when an assignment is answered, whatever the store does.
#include <catch2/catch.hpp>

#include "orch/schema/trust.capnp.h"
#include "orch/testing/test-authority.h"
#include "orch/trust/certificate.h"
#include "test-node.h"

namespace orch::control::agent {
namespace {

using schema::TaskState;
using Fault = testing::MemoryStore::Fault;

TEST_CASE("agent: a repeated assignment is not answered before it is durable", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  REQUIRE(node.reported("t1") == TaskState::RUNNING);
  node.runtime.hang();  // so that no later state is saved meanwhile
  node.store.inject(Fault::REFUSE);
  CHECK_THAT(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}}),
             Catch::Contains("no space left on device"));
  CHECK(node.stored().at("t1").desired == TaskState::RUNNING);
  CHECK(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}}) == "");
  CHECK(node.stored().at("t1").desired == TaskState::SHUTDOWN);
}

TEST_CASE("agent: a new task whose first save failed is saved when it is assigned again",
          "[agent]") {
  TestAgent node;
  node.start();
  node.runtime.hang();
  node.store.disconnect();
  CHECK(node.assign({.tasks = {{"t1"}}}) != "");
  CHECK(node.assign({.tasks = {{"t1"}}}) != "");
  node.store.reconnect();
  CHECK(node.stored().empty());
  CHECK(node.assign({.tasks = {{"t1"}}}) == "");
  CHECK(node.stored().count("t1") == 1);
}

TEST_CASE("agent: a commit whose answer is lost is looked up, and the store goes on", "[agent]") {
  for (auto fault : {Fault::UNKNOWN_APPLIED, Fault::UNKNOWN_LOST, Fault::DISCONNECT_APPLIED,
                     Fault::OVERLOAD_APPLIED, Fault::CUT_OFF}) {
    CAPTURE(static_cast<int>(fault));
    TestAgent node;
    node.start();
    REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
    node.store.inject(fault);
    bool written = fault != Fault::CUT_OFF;
    CHECK((node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}}) == "") == written);
    node.store.reconnect();
    CHECK(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}}) == "");
    CHECK(node.stored().at("t1").desired == TaskState::SHUTDOWN);
    CHECK(node.assign({.tasks = {{"t3"}}}) == "");
    CHECK(node.reported("t3") == TaskState::RUNNING);
    CHECK(node.assign({.gone = {"t1", "t2"}}) == "");
    node.advance(1 * kj::SECONDS);
    CHECK(node.stored().size() == 1);
  }
}

TEST_CASE("agent: a task does not fail for a commit that was lost once", "[agent]") {
  TestAgent node;
  node.start();
  for (uint32_t nth : {0u, 1u, 2u}) {
    auto id = "t" + std::to_string(nth);
    node.store.inject(Fault::UNKNOWN_LOST, nth);
    REQUIRE(node.assign({.tasks = {{id}}}) == "");
    node.advance(1 * kj::SECONDS);
    CHECK(node.reported(id) == TaskState::RUNNING);
  }
}

TEST_CASE("agent: an erase whose answer is lost is not repeated for ever", "[agent]") {
  for (auto fault : {Fault::DISCONNECT_APPLIED, Fault::OVERLOAD_APPLIED, Fault::CUT_OFF}) {
    TestAgent node;
    node.start();
    REQUIRE(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}}) == "");
    node.advance(1 * kj::SECONDS);
    node.store.inject(fault);
    CHECK(node.assign({.gone = {"t1"}}) == "");
    node.advance(20 * kj::SECONDS);
    node.store.reconnect();
    node.advance(20 * kj::SECONDS);
    CHECK(node.stored().empty());
    auto commits = node.store.commits();
    node.advance(60 * kj::SECONDS);
    CHECK(node.store.commits() == commits);
    CHECK(node.runtime.containers.empty());
  }
}

TEST_CASE("agent: a batch that fails takes no other with it", "[agent]") {
  TestAgent node(1);
  node.start();
  REQUIRE(node.assign({.tasks = {{"t0"}}}) == "");  // the epoch, too
  node.runtime.hang();
  node.store.inject(Fault::REFUSE);
  CHECK(node.assign({.tasks = {{"t1"}, {"t2"}, {"t3"}}}) != "");
  CHECK(node.stored().size() >= 3);
  CHECK(node.assign({.tasks = {{"t1"}, {"t2"}, {"t3"}}}) == "");
  CHECK(node.stored().size() == 4);
  CHECK(node.store.largestBatch() == 1);
}

TEST_CASE("agent: a state that could not be saved is saved with the next one", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
  node.store.inject(Fault::REFUSE);
  node.runtime.exit("t1", 3);
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::FAILED);
  CHECK(node.stored().at("t1").state < TaskState::FAILED);
  node.runtime.exit("t2", 0);
  node.advance(1 * kj::SECONDS);
  CHECK(node.stored().at("t1").state == TaskState::FAILED);
  CHECK(node.stored().at("t2").state == TaskState::COMPLETE);
}

TEST_CASE("agent: a program does not start before its start is durable", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1", TaskState::READY}}}) == "");
  REQUIRE(node.reported("t1") == TaskState::READY);
  node.store.disconnect();
  CHECK(node.assign({.tasks = {{"t1", TaskState::RUNNING}}}) != "");
  node.advance(60 * kj::SECONDS);
  CHECK(node.runtime.everStarted.count("t1") == 0);
  CHECK(isTerminal(node.reported("t1")));
}

TEST_CASE("agent: a lower epoch than the last one is refused, after a restart, too", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.epoch = 7, .complete = true}) == "");
  auto refusal = "this node follows a newer leader (epoch 7, not 6)";
  CHECK(node.assign({.epoch = 6, .tasks = {{"t1"}}}) == refusal);
  node.start();
  CHECK(node.assign({.epoch = 6, .tasks = {{"t1"}}}) == refusal);
  CHECK(node.stored().empty());
  CHECK(node.assign({.epoch = 7, .tasks = {{"t1"}}}) == "");
  CHECK(node.assign({.epoch = 8, .tasks = {{"t2"}}}) == "");
}

// Of a node whose cluster's authority is replaced.
class RotatedTrust final : public schema::Trust::Server {
 public:
  explicit RotatedTrust(const std::string& authorities) : authorities(authorities) {}
  kj::Promise<void> state(StateContext context) override {
    auto state = context.getResults().initState();
    state.setMember(true);
    state.setAuthority(authorities.c_str());
    state.setCluster(trust::digestOf(trust::firstIn(authorities)).c_str());
    return kj::READY_NOW;
  }

 private:
  const std::string& authorities;  // the newest first
};

TEST_CASE("agent: when the cluster's authority is replaced, the leader's epoch stays", "[agent]") {
  testing::TestFolder folder("agent-rotated");
  testing::TestAuthority first(folder, "first"), second(folder, "second"), other(folder, "other");
  std::string authorities = first.certificate();
  TestAgent node;
  node.host.addService("trust", kj::heap<RotatedTrust>(authorities));
  node.start();
  REQUIRE(node.assign({.epoch = 7, .complete = true}) == "");
  auto isRefused = [&](uint64_t epoch) {
    return node.assign({.epoch = epoch}).find("follows a newer leader") != std::string::npos;
  };
  auto replace = [&](const std::string& by) {
    authorities = by;
    node.host.emit("authority.changed").wait(node.world.waitScope());
    node.world.settle();
  };
  SECTION("it is told") {
    replace(second.certificate() + first.certificate());
    replace(second.certificate());
    node.start();
    CHECK(isRefused(6));
    node.start();
    CHECK(isRefused(6));
  }
  SECTION("and the store takes it only later") {
    node.store.inject(Fault::REFUSE);
    replace(second.certificate() + first.certificate());
    node.host.emit("plugin.started").wait(node.world.waitScope());
    node.world.settle();
    authorities = second.certificate();
    node.start();
    CHECK(isRefused(6));
  }
  SECTION("it starts again before it is told") {
    node.crash();
    authorities = second.certificate() + first.certificate();
    node.start();
    CHECK(isRefused(6));
    node.crash();
    authorities = second.certificate();
    node.start();
    CHECK(isRefused(6));
  }
  SECTION("but it says nothing in another cluster") {
    node.crash();
    authorities = other.certificate();
    node.start();
    CHECK_FALSE(isRefused(6));
  }
}

TEST_CASE("agent: an epoch that could not be saved is not acknowledged", "[agent]") {
  TestAgent node;
  node.start();
  node.store.inject(Fault::REFUSE);
  CHECK(node.assign({.epoch = 7}) != "");
  CHECK(node.assign({.epoch = 7}) == "");
  node.start();
  CHECK(node.assign({.epoch = 6}) != "");
}

TEST_CASE("agent: what is gone is stopped after a crash as well, without a manager", "[agent]") {
  for (bool complete : {false, true}) {
    TestAgent node;
    node.start();
    REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
    node.runtime.hang();
    CHECK(node.assign(complete ? TestAgent::Order{.complete = true, .tasks = {{"t2"}}}
                               : TestAgent::Order{.gone = {"t1"}}) == "");
    node.crash();
    node.manager.away = true;
    node.runtime.resume();
    node.start();
    node.advance(1 * kj::SECONDS);
    CHECK(node.runtime.running() == 1);
    CHECK(node.stored().at("t1").state == TaskState::SHUTDOWN);
    CHECK(node.stored().at("t2").state == TaskState::RUNNING);
  }
}

}  // namespace
}  // namespace orch::control::agent
