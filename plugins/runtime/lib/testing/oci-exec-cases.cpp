// Programs that somebody runs in a container that runs, and looks on.
#include <kj/debug.h>

#include "oci-programs.h"

namespace orch::runtime {
namespace {

using conformance::ExecSession;
using conformance::SeenProgram;

std::vector<std::string> script(kj::StringPtr text) { return {"sh", "-c", text.cStr()}; }

void inTerminal(schema::Program::Builder program) {
  program.setInput(true);
  program.setTerminal(true);
  program.getSize().setRows(24);
  program.getSize().setColumns(80);
}

void startSleeping(OciSubject& subject) {
  subject.request("c1", "sleep 1000").send().wait(subject.waitScope());
  subject.start("c1");
}

}  // namespace

TEST_CASE("exec: a program has what its container's own has", "[runtime][root][cgroup]") {
  OciSubject subject("exec-rights");
  for (auto user : {"", "alice:staff"}) {
    auto own = ownFacts(subject, user);
    SeenProgram seen;
    ExecSession session(subject, seen);
    session.begin("c1", script(kj::str(FACTS, "; echo ready")));
    session.wait();
    std::erase(seen.output, '\n');
    std::erase(own, '\n');
    CHECK(seen.output == own);
    CHECK(seen.exitCode == 0);
    subject.remove("c1");
  }
}

TEST_CASE("exec: user, environment and working directory can be others",
          "[runtime][root][cgroup]") {
  OciSubject subject("exec-others");
  startSleeping(subject);
  auto facts = "id -un; id -gn; pwd; echo $ROLE $HOME; grep CapEff /proc/self/status";
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.begin("c1", script(facts), [](schema::Program::Builder program) {
    program.setUser("alice");
    program.setWorkdir("/tmp");
    program.initEnv(1).set(0, "ROLE=of a test");
  });
  session.wait();
  CHECK(seen.output == "alice\nalice\n/tmp\nof a test /home/alice\nCapEff:\t0000000000000000\n");
  auto refused = [&](const std::function<void(schema::Program::Builder)>& more) {
    SeenProgram none;
    ExecSession other(subject, none);
    other.begin("c1", script("true"), more);
    other.wait();
    CHECK(none.exitCode == 126);
    return none.error;
  };
  CHECK(refused([](auto program) { program.setUser("nobodyknows"); }) ==
        "unknown user 'nobodyknows': it is neither a number nor in the image's /etc/passwd");
  CHECK(refused([](auto program) { program.setWorkdir("tmp"); }) ==
        "working directory 'tmp' is not an absolute path");
  CHECK(refused([](auto program) { program.initEnv(1).set(0, "=x"); }) ==
        "env '=x' has no name: write KEY=value");
  CHECK_THAT(refused([](auto program) { program.setWorkdir("/not/there"); }),
             Catch::Contains("/not/there"));
}

TEST_CASE("exec: a program that cannot be run is told from one that is not there",
          "[runtime][root][cgroup]") {
  OciSubject subject("exec-cannot");
  startSleeping(subject);
  SeenProgram folder;
  ExecSession session(subject, folder);
  session.begin("c1", {"/etc"});
  session.wait();
  CHECK(folder.exitCode == 126);
  CHECK(folder.error == "cannot run '/etc': Permission denied");
}

TEST_CASE("exec: a terminal is the program's own", "[runtime][root][cgroup]") {
  OciSubject subject("exec-terminal");
  startSleeping(subject);
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.begin("c1",
                script("tty; stty size; trap 'stty size; exit 5' WINCH; echo ready; "
                       "while :; do sleep 0.01; done"),
                inTerminal);
  session.waitFor("ready\r\n");
  CHECK(seen.output == "/dev/pts/0\r\n24 80\r\nready\r\n");
  session.resize(50, 132);
  session.wait();
  CHECK(seen.output == "/dev/pts/0\r\n24 80\r\nready\r\n50 132\r\n");
  CHECK(seen.exitCode == 5);
}

TEST_CASE("exec: a terminal's keys reach the program, and who is in front of it",
          "[runtime][root][cgroup]") {
  OciSubject subject("exec-keys");
  startSleeping(subject);
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.begin("c1", {"sh", "-i"}, inTerminal);
  session.write("echo a$((20 + 1))b\n");
  session.waitFor("a21b");
  auto time = ownSeconds(15);
  session.write(kj::str("sleep ", time, "\n"));
  whenSleepers(subject, time, true);
  session.write("\x03");
  whenSleepers(subject, time, false);
  session.write("echo e$((20 + 3))f; exit 9\n");
  session.wait();
  CHECK(seen.output.find("e23f") != std::string::npos);
  CHECK(seen.exitCode == 9);
}

TEST_CASE("exec: nothing is left of a program when nobody looks on any more",
          "[runtime][root][cgroup]") {
  OciSubject subject("exec-dropped");
  startSleeping(subject);
  auto time = ownSeconds(11);
  for (bool terminal : {false, true}) {
    SeenProgram seen;
    ExecSession session(subject, seen);
    auto text = kj::str("trap '' HUP; (setsid sleep ", time, " &); setsid sleep ", time,
                        " & echo ready; sleep ", time);
    session.begin("c1", script(text), [&](auto program) {
      if (terminal) inTerminal(program);
    });
    session.waitFor("ready");
    whenSleepers(subject, time, true);
    session.drop();
    whenSleepers(subject, time, false);
  }
}

TEST_CASE("exec: a program hears that nobody looks on any more", "[runtime][root][cgroup]") {
  OciSubject subject("exec-hangup");
  startSleeping(subject);
  SeenProgram seen, other;
  ExecSession session(subject, seen), reader(subject, other);
  session.begin("c1", script("trap 'echo heard > /heard; exit' HUP; echo ready; exec 2>/dev/null; "
                             "while :; do sleep 0.01; done"));
  session.waitFor("ready");
  session.drop();
  reader.begin("c1", script("until grep heard /heard; do sleep 0.01; done"));
  reader.wait();
  CHECK(other.output == "heard\n");
}

TEST_CASE("exec: no program is left when orchd goes", "[runtime][root][cgroup]") {
  OciSubject subject("exec-crash");
  startSleeping(subject);
  auto time = ownSeconds(12);
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.begin("c1", script(kj::str("setsid sleep ", time, " & sleep ", time)));
  whenSleepers(subject, time, true);
  session.drop();
  subject.crash();
  subject.restart();
  whenSleepers(subject, time, false);
}

TEST_CASE("exec: a program that is let go outlives who looked on, and orchd",
          "[runtime][root][cgroup]") {
  OciSubject subject("exec-let-go");
  startSleeping(subject);
  auto time = ownSeconds(13);
  SeenProgram seen;
  ExecSession session(subject, seen);
  // More than a terminal holds, so that it would stand still if nobody read it.
  auto text = kj::str("echo ready; sleep 0.1; seq 20000; sleep ", time);
  session.begin("c1", script(text), inTerminal);
  session.waitFor("ready");
  session.letGo();
  session.drop();
  whenSleepers(subject, time, true);
  subject.crash();
  subject.restart();
  whenSleepers(subject, time, true);
  subject.remove("c1");
  whenSleepers(subject, time, false);
}

TEST_CASE("exec: what a program leaves behind stays in the container", "[runtime][root][cgroup]") {
  OciSubject subject("exec-rest");
  startSleeping(subject);
  auto time = ownSeconds(14);
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.begin("c1", script(kj::str("sleep ", time, " & echo done")));
  session.wait();
  CHECK(seen.output == "done\n");
  CHECK(seen.exitCode == 0);
  whenSleepers(subject, time, true);
  subject.remove("c1");
  whenSleepers(subject, time, false);
}

TEST_CASE("exec: all of a large output comes, in order", "[runtime][root][cgroup]") {
  OciSubject subject("exec-large");
  startSleeping(subject);
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.begin("c1", script("seq 200000"));
  session.wait();
  std::string expected;
  for (int i = 1; i <= 200'000; ++i) expected += std::to_string(i) + "\n";
  CHECK(seen.output == expected);
}

TEST_CASE("exec: what runs a program is ended by somebody in the container",
          "[runtime][root][cgroup]") {
  OciSubject subject("exec-killed");
  startSleeping(subject);
  SeenProgram seen;
  ExecSession session(subject, seen);
  session.begin("c1", script("read line; kill -9 $PPID; sleep 1000"),
                [](auto program) { program.setInput(true); });
  session.write("go on\n");
  session.wait();
  CHECK(seen.exitCode == 137);
  CHECK(seen.error == "what runs the program in the container was ended");
}

}  // namespace orch::runtime
