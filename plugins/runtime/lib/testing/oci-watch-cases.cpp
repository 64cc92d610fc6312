// Who looks at a container: its streams, what it uses, its processes.
#include <kj/debug.h>

#include <utility>

#include "oci-programs.h"

namespace orch::runtime {
namespace {

using conformance::ExecSession;
using conformance::SeenProgram;

void startIn(OciSubject& subject, kj::StringPtr text,
             const std::function<void(schema::ContainerRequest::Builder)>& more) {
  auto create = subject.request("c1", text);
  more(create.getRequest());
  create.send().wait(subject.waitScope());
  subject.start("c1");
  while (subject.output("c1").find("ready") == std::string::npos) {
    subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
  }
}

void withTerminal(schema::ContainerRequest::Builder request) { request.getSpec().setTty(true); }

capnp::Response<schema::Runtime::UsageResults> usageOf(OciSubject& subject) {
  auto request = subject.runtime().usageRequest();
  request.initIds(1).set(0, "c1");
  return request.send().wait(subject.waitScope());
}

}  // namespace

TEST_CASE("attach: a container's terminal is whoever's attached", "[runtime][root][cgroup]") {
  OciSubject subject("attach-terminal");
  startIn(subject,
          "trap 'stty size' WINCH; trap 'echo heard; exit 5' INT; echo ready; "
          "while :; do sleep 0.01; done",
          withTerminal);
  SeenProgram seen;
  ExecSession session(subject, seen);
  CHECK(session.attach("c1", true));
  session.resize(50, 132);
  session.waitFor("50 132\r\n");
  SECTION("its keys reach the program") {
    CHECK(session.write("\x03"));
    session.waitFor("heard");
    session.wait();
    CHECK(seen.exitCode == 5);
  }
  SECTION("also of an orchd that has found the container") {
    session.drop();
    subject.restartAfterCrash();
    seen = {};
    ExecSession again(subject, seen);
    CHECK(again.attach("c1", true));
    again.resize(40, 120);
    again.waitFor("40 120\r\n");
    again.signal("INT");
    again.wait();
    CHECK(seen.exitCode == 5);
  }
  subject.remove("c1");
}

// Two are attached, one of whom no longer reads, and the container goes on.
void beginWithSlow(ExecSession& slow, SeenProgram& stuck, ExecSession& quick) {
  slow.attach("c1", false);
  stuck.stuck = true;
  quick.attach("c1", true);
  quick.write("go\n");
}

TEST_CASE("attach: a reader who does not read stops nobody", "[runtime][root][cgroup]") {
  OciSubject subject("attach-slow");
  startIn(subject, "echo ready; read -r line; yes | head -c 20000000; exit 5",
          [](auto request) { request.getSpec().setInteractive(true); });
  SeenProgram stuck, seen;
  ExecSession slow(subject, stuck), quick(subject, seen);
  beginWithSlow(slow, stuck, quick);
  quick.wait();
  CHECK(seen.exitCode == 5);
  subject.remove("c1");
}

TEST_CASE("attach: a container that writes without end holds up nobody",
          "[runtime][root][cgroup]") {
  OciSubject subject("attach-flood");
  startIn(subject, "echo ready; read -r line; yes",
          [](auto request) { request.getSpec().setInteractive(true); });
  SeenProgram stuck, seen;
  ExecSession slow(subject, stuck), quick(subject, seen);
  beginWithSlow(slow, stuck, quick);
  while (seen.output.size() < 10'000'000) {
    subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
    CHECK(usageOf(subject).getUsages().size() == 1);
  }
  quick.drop();
  quick.attach("c1", false);
  quick.signal("KILL");
  quick.wait();
  CHECK(seen.exitCode == 137);
  subject.remove("c1");
}

TEST_CASE("attach: stdout and stderr are apart, and come to their end", "[runtime][root][cgroup]") {
  OciSubject subject("attach-streams");
  startIn(subject, "echo ready; read -r line; echo \"$line\"; echo sworn >&2; printf last",
          [](auto request) { request.getSpec().setInteractive(true); });
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.attach("c1", true);
  session.write("said\n");
  session.wait();
  CHECK(seen.output == "said\nlast");
  CHECK(seen.errors == "sworn\n");
  CHECK(seen.exitCode == 0);
  subject.remove("c1");
}

TEST_CASE("usage: what a container does is measured", "[runtime][root][cgroup]") {
  OciSubject subject("usage");
  startIn(subject,
          "head -c 3000000 /dev/zero | tail -c 2000000 >/tmp/some; echo ready; while :; do :; done",
          [](auto request) { request.getResources().setLimitMemoryBytes(64 << 20); });
  int64_t first = usageOf(subject).getUsages()[0].getCpuNs();
  int64_t now = first;
  while (now - first < 100'000'000) {
    subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
    now = usageOf(subject).getUsages()[0].getCpuNs();
  }
  auto answer = usageOf(subject);
  auto usage = answer.getUsages()[0];
  CHECK(usage.getMemoryBytes() > 0);
  CHECK(usage.getMemoryLimitBytes() == 64 << 20);
  CHECK(usage.getPids() == 1);
  CHECK(usage.getReceivedBytes() == 0);  // nothing but lo
  CHECK(usage.getReadBytes() >= 0);
  subject.remove("c1");
  CHECK(usageOf(subject).getUsages().size() == 0);
}

TEST_CASE("processes: are named, with whose they are in the container", "[runtime][root][cgroup]") {
  OciSubject subject("processes");
  auto time = ownSeconds(16);
  // Until the program is run, the child is the shell by its name, too.
  startIn(subject,
          kj::str("sleep ", time, " & until grep -q ^sleep /proc/$!/cmdline; do :; done; ",
                  "echo ready; wait"),
          [](auto request) { request.getSpec().setUser("alice"); });
  auto request = subject.runtime().processesRequest();
  request.setId("c1");
  auto answer = request.send().wait(subject.waitScope());
  REQUIRE(answer.getProcesses().size() == 2);
  auto init = answer.getProcesses()[0], sleeper = answer.getProcesses()[1];
  // By number; and a host's begin anew at some time.
  if (sleeper.getPid() == subject.pidOf("c1")) std::swap(init, sleeper);
  CHECK(init.getPid() == subject.pidOf("c1"));
  CHECK(sleeper.getParent() == init.getPid());
  CHECK(sleeper.getCommand() == kj::str("sleep ", time));
  CHECK(sleeper.getUser() == "alice");
  CHECK(sleeper.getUid() == 1000);
  subject.remove("c1");
}

}  // namespace orch::runtime
