// What somebody sees who looks at a container: its own process's streams, what it uses, its
// processes.
#include <catch2/catch.hpp>
#include <kj/debug.h>

#include "orch/conformance/runtime-conformance.h"

namespace orch::conformance {

namespace {

class Watched {
 public:
  Watched(RuntimeSubject& subject, kj::StringPtr id, const Behaviour& behaviour)
      : subject(subject), id(kj::str(id)) {
    auto call = subject.runtime().createRequest();
    auto request = call.initRequest();
    request.setId(id);
    request.setTaskName(kj::str("web.1.", id));
    request.getNetwork().setNone();
    subject.script(request, behaviour);
    call.send().wait(subject.waitScope());
  }
  ~Watched() noexcept(false) {
    auto request = subject.runtime().removeRequest();
    request.setId(id);
    request.send().wait(subject.waitScope());
  }
  // So far that it has said so.
  void start() {
    auto request = subject.runtime().startRequest();
    request.setId(id);
    request.send().wait(subject.waitScope());
    while (readLogs(subject, id, 1).empty()) pause();
  }
  void pause() { subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope()); }

 private:
  RuntimeSubject& subject;
  const kj::String id;
};

Behaviour echoing() {
  Behaviour behaviour;
  behaviour.output = {"ready"};
  behaviour.echoes = true;
  behaviour.exitCode = 6;
  return behaviour;
}

Behaviour quiet() {
  Behaviour behaviour;
  behaviour.output = {"ready"};
  behaviour.stays = true;
  behaviour.exitCode = 6;
  return behaviour;
}

void attaching(RuntimeSubject& subject) {
  SECTION("whoever attaches sees what a container writes from then on, and writes to it") {
    Watched container(subject, "c1", echoing());
    container.start();
    SeenProgram first, second, looker;
    ExecSession one(subject, first), two(subject, second), three(subject, looker);
    CHECK(one.attach("c1", true));
    CHECK(one.write("one\n"));
    one.waitFor("one\n");
    CHECK(two.attach("c1", true));
    CHECK(three.attach("c1", false));
    CHECK(two.write("two\n"));
    one.waitFor("two\n");
    two.waitFor("two\n");
    three.waitFor("two\n");
    CHECK(second.output == "two\n");
    CHECK_FALSE(three.write("three\n"));
    CHECK(first.output == "one\ntwo\n");
    // Neither the end of his input nor that he goes away is the container's.
    one.closeInput();
    one.drop();
    two.letGo();
    two.drop();
    ExecSession again(subject, first);
    again.attach("c1", true);
    CHECK(again.write("again\n"));
    again.waitFor("again\n");
    three.waitFor("again\n");
  }
  SECTION("whoever is attached hears how a container ends, and may end it") {
    Watched container(subject, "c1", quiet());
    container.start();
    SeenProgram seen;
    ExecSession session(subject, seen);
    CHECK_FALSE(session.attach("c1", true));
    CHECK_FALSE(session.write("one\n"));
    session.signal("SIGTERM");
    session.wait();
    CHECK(seen.exitCode == 6);
    CHECK(seen.error.empty());
  }
  SECTION("a container is attached to while it runs") {
    SeenProgram seen;
    ExecSession session(subject, seen);
    CHECK_THROWS_WITH(session.attach("c1", true), Catch::Contains("no such container 'c1'"));
    Watched container(subject, "c1", quiet());
    CHECK_THROWS_WITH(session.attach("c1", true), Catch::Contains("container 'c1' does not run"));
  }
}

using Usages = capnp::Response<schema::Runtime::UsageResults>;

Usages usageOf(RuntimeSubject& subject, std::initializer_list<kj::StringPtr> ids) {
  auto request = subject.runtime().usageRequest();
  auto list = request.initIds(ids.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, ids.begin()[i]);
  return request.send().wait(subject.waitScope());
}

void measuring(RuntimeSubject& subject) {
  SECTION("it is measured what containers use that run, and of no others") {
    Watched waits(subject, "c1", quiet());
    Watched runs(subject, "c2", quiet());
    runs.start();
    auto first = usageOf(subject, {"c2", "c1", "nobody", "c2"});
    REQUIRE(first.getUsages().size() == 1);
    auto before = first.getUsages()[0];
    CHECK(before.getId() == "c2");
    CHECK(before.getCpuNs() >= 0);
    CHECK(before.getMemoryBytes() >= 0);
    CHECK(before.getMemoryLimitBytes() > 0);
    CHECK(before.getPids() >= 1);
    runs.pause();
    auto second = usageOf(subject, {"c2"});
    REQUIRE(second.getUsages().size() == 1);
    CHECK(second.getUsages()[0].getAtNs() > before.getAtNs());
    CHECK(second.getUsages()[0].getCpuNs() >= before.getCpuNs());
    CHECK(usageOf(subject, {}).getUsages().size() == 0);
  }
  SECTION("a container's processes are listed while it runs") {
    Watched container(subject, "c1", quiet());
    auto request = subject.runtime().processesRequest();
    request.setId("c1");
    CHECK_THAT(errorText(request.send().ignoreResult(), subject.waitScope()),
               Catch::Contains("container 'c1' does not run"));
    container.start();
    auto again = subject.runtime().processesRequest();
    again.setId("c1");
    auto answer = again.send().wait(subject.waitScope());
    REQUIRE(answer.getProcesses().size() >= 1);
    CHECK(answer.getMore() == 0);
    CHECK(answer.getProcesses()[0].getPid() > 0);
    CHECK(answer.getProcesses()[0].getUser() == "root");
    CHECK(answer.getProcesses()[0].getCommand().size() > 0);
  }
}

}  // namespace

void watchContract(RuntimeSubject& subject) {
  attaching(subject);
  measuring(subject);
}

}  // namespace orch::conformance
