// Programs that somebody runs in tasks.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

// As a node sees a program: it runs until it is ended, or nobody holds it any more.
struct FakeProgram {
  bool dropped = false;
  std::vector<std::string> calls;
  std::string task, command;
  kj::Own<kj::PromiseFulfiller<int>> end;
};

class FakeProgramServer final : public schema::RunningProgram::Server {
 public:
  explicit FakeProgramServer(FakeProgram& seen) : seen(seen) {
    auto pair = kj::newPromiseAndFulfiller<int>();
    seen.end = kj::mv(pair.fulfiller);
    ending = pair.promise.fork();
  }
  ~FakeProgramServer() noexcept(false) { seen.dropped = true; }
  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return ending.addBranch().then(
        [context](int code) mutable { context.getResults().setExitCode(code); });
  }
  kj::Promise<void> write(WriteContext context) override {
    seen.calls.push_back(kj::str("write ", context.getParams().getData().size()).cStr());
    context.getResults().setTaken(true);
    return kj::READY_NOW;
  }
  kj::Promise<void> signal(SignalContext context) override {
    seen.calls.push_back(kj::str("signal ", context.getParams().getSignal()).cStr());
    return kj::READY_NOW;
  }

 private:
  FakeProgram& seen;
  kj::ForkedPromise<int> ending = nullptr;
};

class NoOutput final : public schema::ProgramOutput::Server {};

struct ExecFixture : FourOnTwo {
  ExecFixture() {
    for (auto node : {&one, &two}) {
      node->onExec = [this](schema::Agent::ExecParams::Reader params) {
        program.task = params.getTaskId().cStr();
        program.command = params.getProgram().getCommand()[0].cStr();
        return schema::RunningProgram::Client(kj::heap<FakeProgramServer>(program));
      };
    }
  }
  capnp::Request<schema::ClusterControl::ExecParams, schema::ClusterControl::ExecResults> request(
      kj::StringPtr task) {
    auto request = cluster.control.execRequest();
    request.setId(task);
    request.initProgram().initCommand(1).set(0, "true");
    request.setOutput(kj::heap<NoOutput>());
    return request;
  }
  schema::RunningProgram::Client exec(kj::StringPtr task) {
    return request(task).send().wait(cluster.world.waitScope()).getRunning();
  }
  std::string refusal(kj::StringPtr task) {
    auto outcome = attempt(request(task).send()).wait(cluster.world.waitScope());
    return outcome.ok() ? "" : plainText(outcome.error()).cStr();
  }
  // The exit code, or what it fails with.
  std::string waited(schema::RunningProgram::Client& running) {
    auto outcome = attempt(running.waitRequest().send()).wait(cluster.world.waitScope());
    if (!outcome.ok()) return plainText(outcome.error()).cStr();
    return std::to_string(outcome.value().getExitCode());
  }
  ScriptedNode& nodeOf(const std::string& task) { return one.tasks.count(task) > 0 ? one : two; }

  FakeProgram program;
};

}  // namespace

TEST_CASE("exec: a program is run on the node of the task, by its slot, id or its beginning",
          "[manager]") {
  ExecFixture fixture;
  auto tasks = fixture.cluster.tasks("web");
  for (auto task : tasks.getTasks()) {
    auto id = task.getMeta().getId();
    for (auto& name :
         {kj::str("web.", task.getSlot()), kj::str(id), kj::heapString(id.slice(0).begin(), 12),
          kj::str("web.", task.getSlot(), ".", id)}) {
      auto running = fixture.exec(name);
      CHECK(fixture.program.task == id.cStr());
      fixture.program.end->fulfill(3);
      CHECK(fixture.waited(running) == "3");
    }
  }
}

TEST_CASE("exec: what does not run, or is more than one, is refused by name", "[manager]") {
  ExecFixture fixture;
  CHECK(fixture.refusal("web") ==
        "service 'web' has 4 tasks that run: web.1, web.2, web.3, web.4; name one");
  CHECK(fixture.refusal("web.9") ==
        "no task 'web.9': service 'web' has web.1, web.2, web.3, web.4; see 'orch service ps web'");
  CHECK(fixture.refusal("wbe.1") ==
        "no task 'wbe.1': there is no service 'wbe'; did you mean 'web'?");
  CHECK(fixture.refusal("nobody") == "no service and no task 'nobody'; see 'orch task ls'");
  CHECK(fixture.refusal("wbe") == "no service and no task 'wbe'; did you mean 'web'?");
  fixture.cluster.create({"idle", 0});
  CHECK(fixture.refusal("idle") == "service 'idle' has no task that runs");
  Spec none{"waits", 1};
  none.more = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().getPlacement().initConstraints(1).set(0, "node.hostname==nowhere");
  };
  fixture.cluster.create(none);
  fixture.cluster.settle();
  CHECK(fixture.refusal("waits.1") == "task 'waits.1' does not run: it is pending");
  fixture.cluster.create({"single", 1});
  fixture.cluster.settle();
  fixture.exec("single");
  CHECK(fixture.nodeOf(fixture.program.task).tasks[fixture.program.task].serviceName == "single");
}

TEST_CASE("exec: calls reach the program, and nobody holding it is its end", "[manager]") {
  ExecFixture fixture;
  {
    auto running = fixture.exec("web.1");
    auto write = running.writeRequest();
    write.setData(kj::StringPtr("abc").asBytes());
    CHECK(write.send().wait(fixture.cluster.world.waitScope()).getTaken());
    auto signal = running.signalRequest();
    signal.setSignal("TERM");
    signal.send().wait(fixture.cluster.world.waitScope());
    CHECK(fixture.program.calls == std::vector<std::string>{"write 3", "signal TERM"});
    CHECK_FALSE(fixture.program.dropped);
  }
  fixture.cluster.settle();
  CHECK(fixture.program.dropped);
}

TEST_CASE("attach: is to the newest task of a slot that runs, and ends with its node",
          "[manager]") {
  ExecFixture fixture;
  fixture.one.onExec = fixture.two.onExec = [&](schema::Agent::ExecParams::Reader) {
    return schema::RunningProgram::Client(kj::heap<FakeProgramServer>(fixture.program));
  };
  auto attach = [&](kj::StringPtr task) {
    auto request = fixture.cluster.control.attachRequest();
    request.setId(task);
    request.setInput(true);
    request.setOutput(kj::heap<NoOutput>());
    return request.send().wait(fixture.cluster.world.waitScope());
  };
  CHECK_THROWS_WITH(attach("web"), Catch::Contains("name one"));
  auto answer = attach("web.2");
  CHECK(answer.getTask() == "web.2");
  CHECK(answer.getTerminal());
  CHECK(answer.getTakesInput());
  auto running = answer.getRunning();
  SECTION("its program's end is told") {
    fixture.program.end->fulfill(4);
    CHECK(fixture.waited(running) == "4");
  }
  SECTION("its node is lost") {
    auto& node = answer.getNode() == "host-node1" ? fixture.one : fixture.two;
    node.cut();
    fixture.cluster.advance(20 * kj::SECONDS);
    CHECK_THAT(fixture.waited(running), Catch::Contains("was lost while this ran"));
    CHECK(fixture.program.dropped);
  }
}

TEST_CASE("processes: are asked for on the node of the task", "[manager]") {
  ExecFixture fixture;
  auto request = fixture.cluster.control.processesRequest();
  request.setId("web.3");
  auto answer = request.send().wait(fixture.cluster.world.waitScope());
  CHECK(answer.getTask() == "web.3");
  REQUIRE(answer.getProcesses().size() == 1);
  CHECK(fixture.nodeOf(answer.getProcesses()[0].getCommand().cStr())
            .tasks[answer.getProcesses()[0].getCommand().cStr()]
            .slot == 3);
}

TEST_CASE("exec: a node that is lost ends the command, and is not asked again", "[manager]") {
  ExecFixture fixture;
  auto running = fixture.exec("web.1");
  auto& node = fixture.nodeOf(fixture.program.task);
  auto name = kj::str("node 'host-", &node == &fixture.one ? "node1" : "node2", "'");
  SECTION("its connection breaks") { node.cut(); }
  SECTION("nothing is heard of it") { node.beats = false; }
  fixture.cluster.advance(20 * kj::SECONDS);
  CHECK(fixture.waited(running) ==
        kj::str(name, " was lost while this ran; how it ended is not known").cStr());
  CHECK(fixture.program.dropped);
  auto write = attempt(running.writeRequest().send()).wait(fixture.cluster.world.waitScope());
  CHECK_FALSE(write.ok());
}

}  // namespace orch::control::manager
