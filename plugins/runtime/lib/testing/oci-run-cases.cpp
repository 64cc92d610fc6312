// Programs that are run in a container that runs.
#include <kj/debug.h>

#include "oci-programs.h"

namespace orch::runtime {
namespace {

using RunRequest = capnp::Request<schema::Runtime::RunParams, schema::Runtime::RunResults>;

RunRequest shell(OciSubject& subject, kj::StringPtr id, kj::StringPtr script) {
  auto request = subject.runtime().runRequest();
  request.setId(id);
  request.setTimeoutMs(60'000);
  request.setMaxOutputBytes(4096);
  auto words = request.initCommand(3);
  words.set(0, "sh"), words.set(1, "-c"), words.set(2, script);
  return request;
}

std::string outputOf(OciSubject& subject, RunRequest request) {
  auto answer = request.send().wait(subject.waitScope());
  auto output = answer.getOutput();
  return std::string(reinterpret_cast<const char*>(output.begin()), output.size());
}

}  // namespace

TEST_CASE("run: a program has what its container's own has", "[runtime][root][cgroup]") {
  OciSubject subject("run-rights");
  for (auto user : {"", "alice:staff"}) {
    auto own = ownFacts(subject, user);
    auto seen = outputOf(subject, shell(subject, "c1", kj::str(FACTS, "; echo ready")));
    auto withoutLines = [](std::string text) {
      std::erase(text, '\n');
      return text;
    };
    CHECK(withoutLines(seen) == withoutLines(own));
    subject.remove("c1");
  }
}

TEST_CASE("run: what a program has started is ended with it", "[runtime][root][cgroup]") {
  OciSubject subject("run-rest");
  subject.request("c1", "sleep 1000").send().wait(subject.waitScope());
  subject.start("c1");
  auto seconds = ownSeconds(1);
  auto script = kj::str("(setsid sleep ", seconds, " &); setsid sleep ", seconds, " & ");
  auto slow = shell(subject, "c1", kj::str(script, "sleep 1000"));
  slow.setTimeoutMs(200);
  CHECK(slow.send().wait(subject.waitScope()).getTimedOut());
  whenSleepers(subject, seconds, false);
  CHECK(outputOf(subject, shell(subject, "c1", kj::str(script, "echo done"))) == "done\n");
  whenSleepers(subject, seconds, false);
}

TEST_CASE("run: no program is left when orchd goes", "[runtime][root][cgroup]") {
  OciSubject subject("run-crash");
  subject.request("c1", "sleep 1000").send().wait(subject.waitScope());
  subject.start("c1");
  auto seconds = ownSeconds(2);
  {
    auto running =
        shell(subject, "c1", kj::str("setsid sleep ", seconds, " & sleep ", seconds)).send();
    while (processesWithArgument(seconds.cStr()).size() < 2) {
      subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
    }
  }
  subject.crash();
  subject.restart();
  whenSleepers(subject, seconds, false);
}

TEST_CASE("run: who ends what runs programs in a container, or stops it, costs one program",
          "[runtime][root][cgroup]") {
  OciSubject subject("run-broken");
  subject.request("c1", "sleep 1000").send().wait(subject.waitScope());
  subject.start("c1");
  CHECK(conformance::errorText(shell(subject, "c1", "kill -9 $PPID").send().ignoreResult(),
                               subject.waitScope()) ==
        "what runs programs in the container has ended, or has been ended");
  CHECK(outputOf(subject, shell(subject, "c1", "echo again")) == "again\n");
  auto stopped = shell(subject, "c1", "kill -STOP $PPID; sleep 1000");
  stopped.setTimeoutMs(1);
  CHECK(stopped.send().wait(subject.waitScope()).getTimedOut());
  CHECK(outputOf(subject, shell(subject, "c1", "echo again")) == "again\n");
}

}  // namespace orch::runtime
