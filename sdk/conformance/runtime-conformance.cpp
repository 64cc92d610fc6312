#include "orch/conformance/runtime-conformance.h"

#include <catch2/catch.hpp>
#include <kj/debug.h>

#include "orch/fail.h"

namespace orch::conformance {

namespace {

using ContainerState = schema::Container::State;
using Container = capnp::Response<schema::Runtime::CreateResults>;

// One test's view of the subject.
class Steps {
 public:
  explicit Steps(RuntimeSubject& subject) : subject(subject) {}

  kj::Promise<void> createLater(kj::StringPtr id, const Behaviour& behaviour) {
    return createRequest(id, behaviour).send().ignoreResult();
  }
  Container create(kj::StringPtr id, const Behaviour& behaviour) {
    return createRequest(id, behaviour).send().wait(scope());
  }
  capnp::Response<schema::Runtime::StartResults> start(kj::StringPtr id) {
    auto request = runtime().startRequest();
    request.setId(id);
    return request.send().wait(scope());
  }
  // Started, and so far that it has printed its first line: a signal before that may find nobody.
  void startReady(kj::StringPtr id) {
    start(id);
    while (readLogs(subject, id, 1).empty()) {
      subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(scope());
    }
  }
  int wait(kj::StringPtr id) { return waitForExit(id).getExit().getCode(); }
  capnp::Response<schema::Runtime::WaitResults> waitForExit(kj::StringPtr id) {
    auto request = runtime().waitRequest();
    request.setId(id);
    return request.send().wait(scope());
  }
  int stop(kj::StringPtr id, uint64_t graceMs, kj::StringPtr signal = "") {
    auto request = runtime().stopRequest();
    request.setId(id);
    request.setSignal(signal);
    request.setGraceMs(graceMs);
    return request.send().wait(scope()).getExit().getCode();
  }
  kj::Promise<void> removeLater(kj::StringPtr id) {
    auto request = runtime().removeRequest();
    request.setId(id);
    return request.send().ignoreResult();
  }
  void remove(kj::StringPtr id) { removeLater(id).wait(scope()); }
  capnp::Response<schema::Runtime::ListResults> list() {
    return runtime().listRequest().send().wait(scope());
  }
  capnp::Request<schema::Runtime::RunParams, schema::Runtime::RunResults> runRequest(
      kj::StringPtr id, const Command& command) {
    auto request = runtime().runRequest();
    request.setId(id);
    request.setTimeoutMs(60'000);
    request.setMaxOutputBytes(100);
    auto words = subject.command(command);
    auto list = request.initCommand(words.size());
    for (uint32_t i = 0; i < words.size(); ++i) list.set(i, words[i].c_str());
    return request;
  }
  schema::Runtime::Client runtime() { return subject.runtime(); }
  kj::WaitScope& scope() { return subject.waitScope(); }

  capnp::Request<schema::Runtime::CreateParams, schema::Runtime::CreateResults> createRequest(
      kj::StringPtr id, const Behaviour& behaviour) {
    auto call = runtime().createRequest();
    auto request = call.initRequest();
    request.setId(id);
    request.setTaskName(kj::str("web.1.", id));
    auto label = request.initLabels(1)[0];
    label.setKey("com.example.role");
    label.setValue("test");
    request.getNetwork().setNone();
    subject.script(request, behaviour);
    return call;
  }

 private:
  RuntimeSubject& subject;
};

Behaviour staying(int exitCode = 0) {
  Behaviour behaviour;
  behaviour.output = {"ready"};
  behaviour.stays = true;
  behaviour.exitCode = exitCode;
  return behaviour;
}

void lifeCycle(Steps& steps) {
  SECTION("a container is created, runs, ends and is removed") {
    Behaviour ends;
    ends.exitCode = 7;
    auto created = steps.create("c1", ends);
    CHECK(created.getContainer().getState() == ContainerState::CREATED);
    CHECK(created.getContainer().getLabels()[0].getValue() == "test");
    steps.start("c1");
    CHECK(steps.wait("c1") == 7);
    auto listed = steps.list();
    REQUIRE(listed.getContainers().size() == 1);
    auto container = listed.getContainers()[0];
    CHECK(container.getId() == "c1");
    CHECK(container.getState() == ContainerState::EXITED);
    CHECK(container.getPid() == 0);
    CHECK(container.getExit().getCode() == 7);
    CHECK(container.getExit().getAtNs() >= container.getStartedAtNs());
    CHECK_FALSE(container.getExit().getOomKilled());
    steps.remove("c1");
    CHECK(steps.list().getContainers().size() == 0);
  }
  SECTION("creating and starting twice is as once") {
    auto first = steps.create("c1", staying());
    auto second = steps.create("c1", staying());
    CHECK(first.getContainer().getPid() == second.getContainer().getPid());
    auto started = steps.start("c1");
    auto again = steps.start("c1");
    CHECK(started.getContainer().getState() == ContainerState::RUNNING);
    CHECK(again.getContainer().getStartedAtNs() == started.getContainer().getStartedAtNs());
    CHECK(steps.list().getContainers().size() == 1);
    steps.remove("c1");
  }
  SECTION("a created container can be removed without having run") {
    steps.create("c1", staying());
    steps.remove("c1");
    CHECK(steps.list().getContainers().size() == 0);
  }
  SECTION("an id can be used again after its removal") {
    steps.create("c1", staying());
    steps.start("c1");
    steps.remove("c1");
    Behaviour ends;
    ends.exitCode = 3;
    steps.create("c1", ends);
    steps.start("c1");
    CHECK(steps.wait("c1") == 3);
    steps.remove("c1");
  }
  SECTION("ten at once") {
    kj::Vector<kj::Promise<void>> work;
    for (unsigned i = 0; i < 10; ++i) work.add(steps.createLater(kj::str("c", i), staying()));
    kj::joinPromises(work.releaseAsArray()).wait(steps.scope());
    CHECK(steps.list().getContainers().size() == 10);
    for (unsigned i = 0; i < 10; ++i) steps.start(kj::str("c", i));
    kj::Vector<kj::Promise<void>> removals;
    for (unsigned i = 0; i < 10; ++i) removals.add(steps.removeLater(kj::str("c", i)));
    kj::joinPromises(removals.releaseAsArray()).wait(steps.scope());
    CHECK(steps.list().getContainers().size() == 0);
  }
}

void stopping(Steps& steps) {
  SECTION("stop asks first, and answers with the exit status") {
    steps.create("c1", staying(5));
    steps.startReady("c1");
    CHECK(steps.stop("c1", 60'000) == 5);
    CHECK(steps.stop("c1", 60'000) == 5);
    CHECK(steps.wait("c1") == 5);
    steps.remove("c1");
  }
  SECTION("stop kills after the grace period") {
    auto stubborn = staying();
    stubborn.ignoresTerm = true;
    steps.create("c1", stubborn);
    steps.startReady("c1");
    CHECK(steps.stop("c1", 100) == 128 + 9);
    steps.remove("c1");
  }
  SECTION("stop of a container that was not started ends it") {
    steps.create("c1", staying());
    CHECK(steps.stop("c1", 60'000) == 128 + 9);
    steps.remove("c1");
  }
  SECTION("remove ends a running container and may be repeated") {
    auto stubborn = staying();
    stubborn.ignoresTerm = true;
    steps.create("c1", stubborn);
    steps.start("c1");
    steps.remove("c1");
    steps.remove("c1");
    CHECK(steps.list().getContainers().size() == 0);
  }
}

void refusals(RuntimeSubject& subject, Steps& steps) {
  SECTION("an unknown container is named") {
    auto start = steps.runtime().startRequest();
    start.setId("nobody");
    CHECK(errorText(start.send().ignoreResult(), steps.scope()) == "no such container 'nobody'");
    auto wait = steps.runtime().waitRequest();
    wait.setId("nobody");
    CHECK(errorText(wait.send().ignoreResult(), steps.scope()) == "no such container 'nobody'");
    auto stop = steps.runtime().stopRequest();
    stop.setId("nobody");
    CHECK(errorText(stop.send().ignoreResult(), steps.scope()) == "no such container 'nobody'");
    auto removal = steps.runtime().removeVolumeRequest();
    removal.setName("nobody");
    CHECK_FALSE(removal.send().wait(steps.scope()).getFound());
  }
  SECTION("an unknown signal is named") {
    steps.create("c1", staying());
    steps.start("c1");
    auto stop = steps.runtime().stopRequest();
    stop.setId("c1");
    stop.setSignal("SIGNONSENSE");
    CHECK_THAT(errorText(stop.send().ignoreResult(), steps.scope()),
               Catch::StartsWith("unknown signal 'SIGNONSENSE'"));
    steps.remove("c1");
  }
  SECTION("a creation that fails says why and leaves nothing") {
    auto call = steps.createRequest("c1", staying());
    auto expected = subject.breakRequest(call.getRequest());
    CHECK_THAT(errorText(call.send().ignoreResult(), steps.scope()),
               Catch::Contains(expected.cStr()));
    CHECK(steps.list().getContainers().size() == 0);
    steps.create("c1", staying());
    steps.remove("c1");
  }
}

void logging(RuntimeSubject& subject, Steps& steps) {
  Behaviour speaks;
  speaks.output = {"one", "two", "", "four"};
  speaks.errors = {"oops"};
  SECTION("output is kept line by line, with its stream and time") {
    steps.create("c1", speaks);
    steps.start("c1");
    steps.wait("c1");
    auto lines = readLogs(subject, "c1");
    std::vector<std::string> output, errors;
    for (auto& line : lines) (line.isError ? errors : output).push_back(line.text);
    CHECK(output == speaks.output);
    CHECK(errors == speaks.errors);
    for (auto& line : lines) CHECK(line.timeNs > 0);
    auto last = readLogs(subject, "c1", 2);
    REQUIRE(last.size() == 2);
    CHECK(last[1].text == lines.back().text);
    CHECK(readLogs(subject, "c1", 0).empty());
    CHECK(readLogs(subject, "c1", -1, lines.back().timeNs + 1).empty());
    steps.remove("c1");
  }
  SECTION("following ends when the container does") {
    speaks.stays = true;
    steps.create("c1", speaks);
    std::vector<SeenLine> seen;
    auto follow = steps.runtime().logsRequest();
    follow.setId("c1");
    follow.getOptions().setFollow(true);
    follow.setSink(keepLines(seen));
    auto done = follow.send().ignoreResult().eagerlyEvaluate(nullptr);
    steps.start("c1");
    while (seen.size() < 5) subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(steps.scope());
    steps.stop("c1", 60'000);
    done.wait(steps.scope());
    CHECK(seen.size() == 5);
    steps.remove("c1");
  }
}

std::string textOf(capnp::Data::Reader data) {
  return std::string(reinterpret_cast<const char*>(data.begin()), data.size());
}

void programs(RuntimeSubject& subject, Steps& steps) {
  SECTION("a program in a container answers with its exit code and its last output") {
    steps.create("c1", staying());
    steps.start("c1");
    for (int code : {0, 7}) {
      auto answer = steps.runRequest("c1", {.exitCode = code, .output = "it says so"})
                        .send()
                        .wait(steps.scope());
      CHECK(answer.getExitCode() == code);
      CHECK_FALSE(answer.getTimedOut());
      CHECK(textOf(answer.getOutput()) == "it says so");
    }
    auto cut = steps.runRequest("c1", {.output = "0123456789"});
    cut.setMaxOutputBytes(4);
    CHECK(textOf(cut.send().wait(steps.scope()).getOutput()) == "6789");
    steps.remove("c1");
  }
  SECTION("a program that takes too long is ended, and the next one runs") {
    steps.create("c1", staying());
    steps.start("c1");
    auto slow = steps.runRequest("c1", {.stays = true});
    slow.setTimeoutMs(50);
    CHECK(slow.send().wait(steps.scope()).getTimedOut());
    auto next = steps.runRequest("c1", {.exitCode = 3}).send().wait(steps.scope());
    CHECK(next.getExitCode() == 3);
    CHECK_FALSE(next.getTimedOut());
    steps.remove("c1");
  }
  SECTION("several programs at once") {
    steps.create("c1", staying());
    steps.start("c1");
    auto first = steps.runRequest("c1", {.exitCode = 4}).send();
    auto second = steps.runRequest("c1", {.exitCode = 5}).send();
    CHECK(first.wait(steps.scope()).getExitCode() == 4);
    CHECK(second.wait(steps.scope()).getExitCode() == 5);
    steps.remove("c1");
  }
  if (!subject.canHaveFaults()) return;
  SECTION("after a restart programs run in the containers that still do") {
    steps.create("c1", staying());
    steps.start("c1");
    CHECK(steps.runRequest("c1", {}).send().wait(steps.scope()).getExitCode() == 0);
    subject.restartAfterCrash();
    CHECK(steps.runRequest("c1", {.exitCode = 6}).send().wait(steps.scope()).getExitCode() == 6);
    steps.remove("c1");
  }
}

void programsThatCannot(Steps& steps) {
  SECTION("a program ends with its container") {
    steps.create("c1", staying());
    steps.startReady("c1");
    auto running = steps.runRequest("c1", {.stays = true}).send().ignoreResult();
    steps.stop("c1", 60'000);
    CHECK(errorText(kj::mv(running), steps.scope()) != "no error");
    steps.remove("c1");
    CHECK(steps.list().getContainers().size() == 0);
  }
  SECTION("no program runs where no container does") {
    CHECK(errorText(steps.runRequest("nobody", {}).send().ignoreResult(), steps.scope()) ==
          "no such container 'nobody'");
    steps.create("c1", staying());
    CHECK(errorText(steps.runRequest("c1", {}).send().ignoreResult(), steps.scope()) ==
          "container 'c1' does not run");
    steps.remove("c1");
  }
  SECTION("a program that is not there is named") {
    steps.create("c1", staying());
    steps.start("c1");
    auto call = steps.runRequest("c1", {.missing = true});
    CHECK_THAT(errorText(call.send().ignoreResult(), steps.scope()),
               Catch::StartsWith("cannot run '"));
    CHECK(steps.runRequest("c1", {}).send().wait(steps.scope()).getExitCode() == 0);
    steps.remove("c1");
  }
}

void programsWithSomebody(RuntimeSubject& subject, Steps& steps) {
  SECTION("no program is run where no container runs") {
    SeenProgram seen;
    ExecSession session(subject, seen);
    auto begin = [&] { session.begin("c1", subject.command({})); };
    CHECK_THROWS_WITH(begin(), Catch::Contains("no such container 'c1'"));
    steps.create("c1", staying());
    CHECK_THROWS_WITH(begin(), Catch::Contains("container 'c1' does not run"));
    steps.remove("c1");
  }
  SECTION("a program that somebody looks on ends with its container") {
    steps.create("c1", staying());
    steps.startReady("c1");
    SeenProgram seen;
    ExecSession session(subject, seen);
    session.begin("c1", subject.command({.stays = true}));
    steps.stop("c1", 60'000);
    session.wait();
    CHECK(seen.exitCode == 137);
    CHECK(seen.error == "its container has ended");
    steps.remove("c1");
  }
  SECTION("a program that somebody looks on") {
    steps.create("c1", staying());
    steps.start("c1");
    execContract(subject);
    steps.remove("c1");
  }
}

void faults(RuntimeSubject& subject, Steps& steps) {
  if (!subject.canHaveFaults()) return;
  SECTION("a tail has whole lines, however the streams' pieces are mixed") {
    Behaviour speaks;
    speaks.output = {"ready"};
    speaks.pieces = {{false, "a1 "}, {true, "e1 "},   {false, "a2 "}, {true, "e2\n"},
                     {true, "f1 "},  {false, "a3\n"}, {true, "f2\n"}};
    steps.create("c1", speaks);
    steps.start("c1");
    SeenProgram seen;
    ExecSession session(subject, seen);
    CHECK(session.attach("c1", true));
    // They come by two pipes: each is written when the one before is in the log.
    for (size_t written = 1; written <= speaks.pieces.size(); ++written) {
      while (readLogs(subject, "c1").size() < speaks.output.size() + written) {
        subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(steps.scope());
      }
      CHECK(session.write("\n"));
    }
    steps.wait("c1");
    for (int64_t tail : {1, 2, 3, 4}) {
      std::string text[2];
      for (auto& line : readLogs(subject, "c1", tail)) {
        text[line.isError] += line.text + (line.partial ? "" : "\n");
      }
      INFO("the last " << tail);
      CHECK(text[0] == (tail == 1 ? "" : tail == 4 ? "ready\na1 a2 a3\n" : "a1 a2 a3\n"));
      CHECK(text[1] == (tail < 3 ? "f1 f2\n" : "e1 e2\nf1 f2\n"));
    }
    steps.remove("c1");
  }
  SECTION("a container whose monitor is killed is ended, and says what is lost") {
    steps.create("c1", staying(7));
    steps.startReady("c1");
    subject.killMonitor("c1");
    auto exit = steps.waitForExit("c1");
    CHECK(exit.getExit().getCode() == -1);
    CHECK(exit.getExit().getLost() == "its conmon ended; log and exit status are lost");
    CHECK(steps.list().getContainers()[0].getPid() == 0);
    steps.remove("c1");
  }
  SECTION("a monitor that is stopped loses nothing and is not left over") {
    steps.create("c1", staying(7));
    steps.startReady("c1");
    subject.stopMonitor("c1");
    CHECK(steps.stop("c1", 60'000) == 7);
    steps.remove("c1");
    steps.create("c2", staying(7));
    steps.startReady("c2");
    subject.stopMonitor("c2");
    steps.remove("c2");
  }
  SECTION("a full disk loses no exit status and hinders nobody") {
    steps.create("c1", staying(7));
    steps.create("c2", staying(8));
    steps.startReady("c1");
    steps.start("c2");
    subject.setDiskFull(true);
    CHECK_THAT(errorText(steps.createLater("c3", staying()), steps.scope()),
               Catch::Contains("No space left on device; free space on"));
    CHECK(steps.stop("c1", 60'000) == 7);
    subject.restartAfterCrash();
    CHECK(steps.wait("c1") == 7);
    steps.remove("c1");
    steps.remove("c2");
    subject.setDiskFull(false);
    CHECK(steps.list().getContainers().size() == 0);
  }
}

}  // namespace

void runtimeContract(RuntimeSubject& subject) {
  Steps steps(subject);
  SECTION("it says what it is") {
    auto info = steps.runtime().infoRequest().send().wait(steps.scope());
    CHECK(info.getName().size() > 0);
    CHECK(info.getVersion().size() > 0);
    CHECK(steps.list().getContainers().size() == 0);
  }
  lifeCycle(steps);
  stopping(steps);
  refusals(subject, steps);
  logging(subject, steps);
  programs(subject, steps);
  programsThatCannot(steps);
  programsWithSomebody(subject, steps);
  watchContract(subject);
  faults(subject, steps);
}

std::string errorText(kj::Promise<void> promise, kj::WaitScope& waitScope) {
  std::string text = "no error";
  promise.catch_([&](kj::Exception&& e) { text = plainText(e).cStr(); }).wait(waitScope);
  return text;
}

}  // namespace orch::conformance
