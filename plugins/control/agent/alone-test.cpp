// A node that is cut off from its managers, or whose managers are gone.
#include <catch2/catch.hpp>

#include "orch/fail.h"
#include "test-node.h"

namespace orch::control::agent {
namespace {

using Condition = schema::RestartPolicy::Condition;
using schema::TaskState;
using Wanted = TestAgent::Wanted;

constexpr kj::Duration ALONE_AFTER = 5 * kj::SECONDS;  // the setting's default

Wanted withPolicy(std::string id, std::function<void(schema::RestartPolicy::Builder)> policy) {
  return {.id = std::move(id),
          .more = [policy](schema::Task::Builder task) { policy(task.getSpec().initRestart()); }};
}

// The id of the only container that runs.
std::string runningIn(const FakeRuntime& runtime) {
  REQUIRE(runtime.running() == 1);
  for (auto& [id, container] : runtime.containers) {
    if (container.starts > 0 && !container.exited) return id;
  }
  return {};
}

// What a manager that takes in all that it hears of says to the node.
void takeIn(TestAgent& node) {
  TestAgent::Order order{.complete = true};
  for (auto& restart : node.manager.restarts) {
    order.tasks.push_back({restart.ended, TaskState::SHUTDOWN, restart.endedState});
    order.tasks.push_back({restart.next, TaskState::RUNNING, TaskState::ASSIGNED});
  }
  REQUIRE(node.assign(order) == "");
}

TEST_CASE("alone: a task that ends is restarted, and is the cluster's when a manager is back",
          "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
  node.manager.leave();
  node.runtime.exit("t1", 3);
  node.advance(ALONE_AFTER / 2);
  CHECK(node.runtime.running() == 1);  // a manager may be back any moment
  node.advance(ALONE_AFTER);
  CHECK(node.runtime.running() == 2);
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  REQUIRE(node.manager.restarts.size() == 1);
  auto restart = node.manager.restarts[0];
  CHECK(restart.ended == "t1");
  CHECK(restart.endedState == TaskState::FAILED);
  CHECK(restart.restarts == 1);
  REQUIRE(node.assign({.complete = true,
                       .tasks = {{"t1", TaskState::SHUTDOWN, TaskState::FAILED},
                                 {"t2"},
                                 {restart.next, TaskState::RUNNING, TaskState::RUNNING}}}) == "");
  CHECK(node.runtime.running() == 2);
  CHECK(node.runtime.everStarted[restart.next] == 1);
  // It is a task like any other now: nothing is told of it again.
  node.manager.leave();
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  CHECK(node.manager.restarts.empty());
  CHECK(node.runtime.running() == 2);
}

TEST_CASE("alone: what was replaced meanwhile is given up", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
  node.manager.leave();
  node.runtime.exit("t1", 3);
  node.advance(2 * ALONE_AFTER);
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  REQUIRE(node.assign({.complete = true,
                       .tasks = {{"t1", TaskState::SHUTDOWN, TaskState::FAILED},
                                 {"t2", TaskState::SHUTDOWN, TaskState::RUNNING}}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.runtime.running() == 0);
  CHECK(node.stored().size() == 2);
}

TEST_CASE("alone: what has replaced it here starts when it has ended", "[agent]") {
  bool crashes = GENERATE(false, true);
  CAPTURE(crashes);
  TestAgent node;
  node.runtime.obeys = false;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.manager.leave();
  node.runtime.exit("t1", 3);
  node.advance(2 * ALONE_AFTER);
  auto own = runningIn(node.runtime);
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  auto order = [&] {
    auto sameSlot = [](schema::Task::Builder task) { task.setSlot(1); };
    return node.assign({.complete = true,
                        .tasks = {{"t1", TaskState::SHUTDOWN, TaskState::FAILED},
                                  {.id = "t2", .more = sameSlot}}});
  };
  REQUIRE(order() == "");
  node.advance(1 * kj::SECONDS);
  if (crashes) {
    node.crash();
    node.start();
    node.advance(5 * kj::SECONDS);
    REQUIRE(order() == "");
    node.advance(1 * kj::SECONDS);
  }
  CHECK(runningIn(node.runtime) == own);
  node.runtime.exit(own, 143);
  node.advance(1 * kj::SECONDS);
  CHECK(runningIn(node.runtime) == "t2");
}

TEST_CASE("alone: a row of failures backs off, keeps one task, and outlives orchd", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.manager.leave();
  node.runtime.onStart = [&](const std::string& id) {
    node.runtime.containers[id].exited = true, node.runtime.containers[id].code = 1;
  };
  node.runtime.exit("t1", 1);
  node.advance(10 * kj::MINUTES);
  // 0, 0.1, 0.2, … up to 30 s apart.
  CHECK(node.runtime.everStarted.size() > 20);
  CHECK(node.runtime.everStarted.size() < 35);
  CHECK(node.stored().size() <= 3);
  CHECK(node.runtime.containers.size() <= 3);
  node.crash();
  node.runtime.onStart = [](const std::string&) {};
  node.start();
  node.advance(1 * kj::MINUTES);
  auto id = runningIn(node.runtime);
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  REQUIRE(node.manager.restarts.size() == 1);
  CHECK(node.manager.restarts[0].ended == "t1");
  CHECK(node.manager.restarts[0].next == id);
  CHECK(node.manager.restarts[0].restarts > 20);
  for (auto& entry : node.runtime.everStarted) CHECK(entry.second == 1);
}

TEST_CASE("alone: after a power cut the node's tasks run again, though no manager is there",
          "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}, {"t2"}}}) == "");
  node.manager.leave();
  for (int cut = 0; cut < 2; ++cut) {
    node.crash();
    node.runtime.containers.clear();
    node.start();
    node.advance(2 * ALONE_AFTER);
    CHECK(node.runtime.running() == 2);
  }
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  CHECK(node.manager.restarts.size() == 2);
  takeIn(node);
  CHECK(node.runtime.running() == 2);
  for (auto& entry : node.runtime.everStarted) CHECK(entry.second == 1);
}

TEST_CASE("alone: the restart policy is kept", "[agent]") {
  struct Case {
    Condition condition;
    uint64_t attempts;
    int code;
    uint32_t runs;
  };
  for (auto& test : {Case{Condition::ANY, 0, 0, 1}, Case{Condition::ON_FAILURE, 0, 0, 0},
                     Case{Condition::ON_FAILURE, 0, 1, 1}, Case{Condition::NONE, 0, 1, 0},
                     Case{Condition::ANY, 2, 1, 1}}) {
    CAPTURE(static_cast<int>(test.condition), test.attempts, test.code);
    TestAgent node;
    node.start();
    auto policy = [&](schema::RestartPolicy::Builder policy) {
      policy.setCondition(test.condition);
      policy.setMaxAttempts(test.attempts);
    };
    REQUIRE(node.assign({.tasks = {withPolicy("t1", policy)}}) == "");
    node.manager.leave();
    node.runtime.exit("t1", test.code);
    node.advance(2 * ALONE_AFTER);
    CHECK(node.runtime.running() == test.runs);
    for (uint64_t i = 0; i < test.attempts; ++i) {
      node.runtime.exit(runningIn(node.runtime), test.code);
      node.advance(1 * kj::MINUTES);
    }
    if (test.attempts > 0) CHECK(node.runtime.running() == 0);
  }
}

TEST_CASE("alone: what the managers have asked to end stays ended", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  REQUIRE(node.assign({.tasks = {{"t1", TaskState::SHUTDOWN}}}) == "");
  node.manager.leave();
  node.advance(1 * kj::MINUTES);
  CHECK(node.runtime.running() == 0);
  CHECK(node.runtime.everStarted.size() == 1);
}

TEST_CASE("alone: one that waits to follow a task of this node starts, another one does not",
          "[agent]") {
  TestAgent node;
  node.start();
  auto following = [](const char* id, const char* before) {
    return Wanted{.id = id,
                  .desired = TaskState::READY,
                  .more = [before](schema::Task::Builder task) { task.setRestartOf(before); }};
  };
  REQUIRE(node.assign({.tasks = {{"t1"}, following("t2", "t1"), following("t3", "elsewhere")}}) ==
          "");
  REQUIRE(node.runtime.running() == 1);
  node.manager.leave();
  node.advance(2 * ALONE_AFTER);
  CHECK(node.runtime.running() == 1);
  node.runtime.exit("t1", 1);
  node.advance(1 * kj::SECONDS);
  CHECK(runningIn(node.runtime) == "t2");
}

TEST_CASE("alone: one that is restarted while a session is being opened is not forgotten",
          "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.manager.leave();
  node.advance(2 * ALONE_AFTER);
  auto pair = kj::newPromiseAndFulfiller<void>();
  node.manager.opening = kj::mv(pair.promise);
  node.manager.comeBack();
  node.advance(2 * kj::SECONDS);  // the manager thinks about it
  auto sessions = node.manager.sessions;
  node.runtime.exit("t1", 1);
  node.advance(1 * kj::SECONDS);
  auto next = runningIn(node.runtime);
  REQUIRE(node.assign({.complete = true, .tasks = {{"t1"}}}) == "");
  CHECK(runningIn(node.runtime) == next);
  pair.fulfiller->fulfill();
  node.advance(2 * kj::SECONDS);
  CHECK(node.manager.sessions == sessions + 1);
  REQUIRE(node.manager.restarts.size() == 1);
  CHECK(node.manager.restarts[0].next == next);
  takeIn(node);
  CHECK(runningIn(node.runtime) == next);
}

// A manager that has seen the task end, and not what the node has made of that.
TEST_CASE("alone: what replaces it here waits, whether the managers have heard of it yet or not",
          "[agent]") {
  bool taken = GENERATE(false, true);
  CAPTURE(taken);
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.manager.leave();
  node.advance(2 * ALONE_AFTER);
  auto pair = kj::newPromiseAndFulfiller<void>();
  node.manager.opening = kj::mv(pair.promise);
  node.manager.comeBack();
  node.advance(2 * kj::SECONDS);
  node.runtime.exit("t1", 1);
  node.advance(1 * kj::SECONDS);
  auto own = runningIn(node.runtime);
  auto sameSlot = [](schema::Task::Builder task) { task.setSlot(1); };
  TestAgent::Order order{
      .complete = true,
      .tasks = {{"t1", TaskState::SHUTDOWN, TaskState::FAILED}, {.id = "t2", .more = sameSlot}}};
  REQUIRE(node.assign(order) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(runningIn(node.runtime) == own);
  pair.fulfiller->fulfill();
  node.advance(2 * kj::SECONDS);
  REQUIRE(node.manager.restarts.size() == 1);
  CHECK(runningIn(node.runtime) == own);
  if (taken) order.tasks.push_back({own, TaskState::RUNNING, TaskState::RUNNING});
  REQUIRE(node.assign(order) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.runtime.everStarted["t2"] == 1);
  CHECK(node.runtime.running() == (taken ? 2 : 1));
}

TEST_CASE("agent: hours without changes write nothing, with a manager or without one", "[agent]") {
  for (bool manager : {true, false}) {
    TestAgent node;
    node.start();
    REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
    if (!manager) node.manager.leave();
    node.advance(1 * kj::MINUTES);
    auto commits = node.store.commits();
    node.advance((manager ? 24 : 1) * kj::HOURS);
    CHECK(node.store.commits() == commits);
    CHECK(node.runtime.running() == 1);
  }
}

TEST_CASE("alone: a node with a manager leaves restarts to it", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {{"t1"}}}) == "");
  node.runtime.exit("t1", 1);
  node.advance(10 * kj::MINUTES);
  CHECK(node.reported("t1") == TaskState::FAILED);
  CHECK(node.runtime.everStarted.size() == 1);
}

}  // namespace
}  // namespace orch::control::agent
