// `orch task exec`, without a terminal and what it reads of one.
#include <catch2/catch.hpp>
#include <signal.h>

#include "recording-server.h"
#include "terminal.h"

namespace orch::cli {
namespace {

std::string passed(DetachKeys& keys, const char* typed) {
  auto bytes = keys.pass(kj::StringPtr(typed).asBytes());
  return std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
}

schema::Program::Reader programOf(RecordingServer& server) {
  return server.lastProgram->getRoot<schema::Program>().asReader();
}

}  // namespace

TEST_CASE("exec: the words after the task are the program's", "[cli]") {
  RecordingServer server;
  auto ran = server.run(
      {"task", "exec", "-e", "A=b c", "-u", "me", "--workdir=/tmp", "web.1", "ls", "-l", "--json"});
  CHECK(ran.status == 7);
  CHECK(server.calls.back() == "exec web.1");
  auto program = programOf(server);
  REQUIRE(program.getCommand().size() == 3);
  CHECK(program.getCommand()[2] == "--json");
  CHECK(program.getEnv()[0] == "A=b c");
  CHECK(program.getUser() == "me");
  CHECK(program.getWorkdir() == "/tmp");
  CHECK_FALSE(program.getInput());
  CHECK_FALSE(program.getTerminal());
}

TEST_CASE("exec: a variable without a value is the one that is here, or none", "[cli]") {
  RecordingServer server;
  server.run({"task", "exec", "-e", "ROLE", "-e", "NONE", "web.1", "env"}, {"ROLE=test"});
  auto env = programOf(server).getEnv();
  REQUIRE(env.size() == 1);
  CHECK(env[0] == "ROLE=test");
  CHECK(server.run({"task", "exec", "-e", "=x", "web.1", "env"}).status == 2);
}

TEST_CASE("exec: input goes to the program, and its end", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"task", "exec", "-i", "web.1", "cat"});
  CHECK(programOf(server).getInput());
  CHECK(ran.errors == "end of input\n");
  CHECK(ran.status == 7);
}

TEST_CASE("exec: what could not be run, and what is not known, is said", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"task", "exec", "web.1", "nothing-there"});
  CHECK(ran.status == 127);
  CHECK(ran.errors == "orch: cannot run 'nothing-there': not there\n");
  server.programLost = true;
  ran = server.run({"task", "exec", "web.1", "true"});
  CHECK(ran.status == 125);
  CHECK(ran.errors == "orch: node 'n2' was lost while this ran\n");
}

TEST_CASE("exec: a signal is the program's as soon as its output has come", "[cli]") {
  RecordingServer server;
  server.programEnds = false;
  server.speaksFirst = true;
  auto ran = server.runAndInterrupt({"task", "exec", "web.1", "sh"}, SIGINT);
  CHECK(ran.status == 7);
  CHECK(ran.out == "ready\n");
  CHECK(server.calls.back() == "signal 2");
}

TEST_CASE("exec: a program that is let go is not waited for", "[cli]") {
  RecordingServer server;
  server.programEnds = false;
  CHECK(server.run({"task", "exec", "-d", "web.1", "sleep", "9"}).status == 0);
  CHECK(server.calls.back() == "letGo");
  server.programEnds = true;
  auto ran = server.run({"task", "exec", "-d", "web.1", "nothing-there"});
  CHECK(ran.status == 127);
  CHECK(ran.errors == "orch: cannot run 'nothing-there': not there\n");
}

TEST_CASE("exec: a terminal is asked for where there is one", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"task", "exec", "-it", "web.1", "sh"});
  CHECK(ran.status == 2);
  CHECK(ran.errors ==
        "orch: --tty with --interactive needs a terminal as input; leave out --tty\n");
  CHECK(server.run({"task", "exec", "web.1"}).status == 2);
}

TEST_CASE("exec: docker's word is answered by the one that does it here", "[cli]") {
  RecordingServer server;
  CHECK(has(server.run({"exec", "web.1", "sh"}).errors,
            "'orch exec' is 'orch task exec TASK COMMAND' here"));
}

TEST_CASE("detach keys: are held back until they are others, or complete", "[cli]") {
  auto keys = DetachKeys::parse("ctrl-p,ctrl-q");
  CHECK(passed(keys, "ab\x10") == "ab");
  CHECK(passed(keys, "c") ==
        "\x10"
        "c");
  CHECK(passed(keys, "\x10\x10") == "\x10");
  CHECK_FALSE(keys.complete());
  CHECK(passed(keys, "\x11rest").empty());
  CHECK(keys.complete());
  auto none = DetachKeys::parse("");
  CHECK(passed(none, "\x10\x11") == "\x10\x11");
  CHECK_FALSE(none.complete());
  auto other = DetachKeys::parse("a,ctrl-]");
  CHECK(passed(other, "a\x1d").empty());
  CHECK(other.complete());
  for (auto wrong : {"ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-p,"}) {
    INFO(wrong);
    CHECK_THROWS_WITH(DetachKeys::parse(wrong), Catch::Contains("is no key"));
  }
}

}  // namespace orch::cli
