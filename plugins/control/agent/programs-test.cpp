// Programs that somebody runs in the containers of a node.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "test-node.h"

namespace orch::control::agent {
namespace {

struct LookedOn final : public schema::RunningProgram::Server {
  explicit LookedOn(bool& dropped) : dropped(dropped) {}
  ~LookedOn() noexcept(false) { dropped = true; }
  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return kj::NEVER_DONE;
  }
  bool& dropped;
};

struct Running {
  Running() {
    node.runtime.onExec = [this](schema::Runtime::ExecParams::Reader params) {
      command = params.getProgram().getCommand()[0].cStr();
      return schema::RunningProgram::Client(kj::heap<LookedOn>(dropped));
    };
    node.start();
    node.assign({.complete = true, .tasks = {{.id = "t1"}}});
    node.advance(1 * kj::SECONDS);
  }
  Outcome<capnp::Response<schema::Agent::ExecResults>> exec(kj::StringPtr task) {
    return exec(KJ_ASSERT_NONNULL(node.manager.agent), task);
  }
  Outcome<capnp::Response<schema::Agent::ExecResults>> exec(schema::Agent::Client agent,
                                                            kj::StringPtr task) {
    auto request = agent.execRequest();
    request.setTaskId(task);
    request.initProgram().initCommand(1).set(0, "ls");
    return attempt(request.send()).wait(node.world.waitScope());
  }
  TestAgent node;
  std::string command;
  bool dropped = false;
};

}  // namespace

TEST_CASE("exec: a program runs in the container of a task of this node", "[agent]") {
  Running fixture;
  auto answer = fixture.exec("t1");
  REQUIRE(answer.ok());
  CHECK(fixture.command == "ls");
  auto running = answer.value().getRunning();
  fixture.node.advance(100 * kj::SECONDS);
  CHECK_FALSE(fixture.dropped);
  auto unknown = fixture.exec("t2");
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.message() == "this node has no task 't2'");
}

TEST_CASE("exec: a program ends with the session that it was asked for through", "[agent]") {
  Running fixture;
  auto answer = fixture.exec("t1");
  REQUIRE(answer.ok());
  auto running = answer.value().getRunning();
  auto waiting = attempt(running.waitRequest().send());
  SECTION("its manager leaves") {
    fixture.node.manager.leave();
    fixture.node.advance(100 * kj::SECONDS);
  }
  SECTION("its manager says nothing any more") {
    fixture.node.manager.silent = true;
    fixture.node.advance(100 * kj::SECONDS);
  }
  CHECK(fixture.dropped);
  auto ended = kj::mv(waiting).wait(fixture.node.world.waitScope());
  REQUIRE_FALSE(ended.ok());
  CHECK_THAT(ended.message().cStr(), Catch::Contains("lost its manager"));
}

TEST_CASE("exec: on the node itself a program and the tasks are there without a manager, too",
          "[agent]") {
  Running fixture;
  auto agent = fixture.node.forPlugins();
  kj::Maybe<schema::RunningProgram::Client> running;
  {
    auto answer = fixture.exec(agent, "t1");
    REQUIRE(answer.ok());
    running = answer.value().getRunning();
  }
  fixture.node.manager.silent = true;
  fixture.node.advance(100 * kj::SECONDS);
  CHECK_FALSE(fixture.dropped);
  auto tasks = agent.tasksRequest().send().wait(fixture.node.world.waitScope());
  REQUIRE(tasks.getTasks().size() == 1);
  auto task = tasks.getTasks()[0];
  CHECK(task.getMeta().getId() == "t1");
  CHECK(task.getServiceName() == "web");
  CHECK(task.getStatus().getState() == schema::TaskState::RUNNING);
  running = nullptr;
  fixture.node.world.settle();
  CHECK(fixture.dropped);
}

}  // namespace orch::control::agent
