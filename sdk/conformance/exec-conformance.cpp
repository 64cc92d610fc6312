// Programs that somebody runs in a container and looks on.
#include <catch2/catch.hpp>
#include <kj/debug.h>

#include "orch/conformance/runtime-conformance.h"
#include "orch/fail.h"

namespace orch::conformance {

namespace {

// Of the window that sdk/schema/runtime.capnp states.
constexpr unsigned MAX_UNDER_WAY = 8;
constexpr size_t MAX_CHUNK_BYTES = 32 << 10;

class OutputKeeper final : public schema::ProgramOutput::Server {
 public:
  explicit OutputKeeper(SeenProgram& seen) : seen(seen) {}
  kj::Promise<void> write(WriteContext context) override {
    context.allowCancellation();
    if (seen.stuck) {
      ++seen.underWay;
      return kj::NEVER_DONE;
    }
    auto params = context.getParams();
    auto data = params.getData();
    CHECK(data.size() <= MAX_CHUNK_BYTES);
    bool isError = params.getStream() == schema::LogLine::Stream::STDERR;
    (isError ? seen.errors : seen.output)
        .append(reinterpret_cast<const char*>(data.begin()), data.size());
    return kj::READY_NOW;
  }

 private:
  SeenProgram& seen;
};

}  // namespace

void ExecSession::begin(kj::StringPtr id, const std::vector<std::string>& words,
                        const std::function<void(schema::Program::Builder)>& more) {
  auto request = subject.runtime().execRequest();
  request.setId(id);
  auto program = request.initProgram();
  auto command = program.initCommand(words.size());
  for (uint32_t i = 0; i < words.size(); ++i) command.set(i, words[i].c_str());
  more(program);
  request.setOutput(kj::heap<OutputKeeper>(seen));
  running = request.send().wait(subject.waitScope()).getRunning();
}

bool ExecSession::attach(kj::StringPtr id, bool input) {
  auto request = subject.runtime().attachRequest();
  request.setId(id);
  request.setInput(input);
  request.setOutput(kj::heap<OutputKeeper>(seen));
  auto answer = request.send().wait(subject.waitScope());
  running = answer.getRunning();
  return answer.getTakesInput();
}

bool ExecSession::write(kj::StringPtr text) {
  auto request = program().writeRequest();
  request.setData(text.asBytes());
  return request.send().wait(subject.waitScope()).getTaken();
}

void ExecSession::closeInput() { program().closeInputRequest().send().wait(subject.waitScope()); }

void ExecSession::signal(kj::StringPtr name) {
  auto request = program().signalRequest();
  request.setSignal(name);
  request.send().wait(subject.waitScope());
}

void ExecSession::resize(uint16_t rows, uint16_t columns) {
  auto request = program().resizeRequest();
  request.initSize().setRows(rows);
  request.getSize().setColumns(columns);
  request.send().wait(subject.waitScope());
}

void ExecSession::letGo() { program().letGoRequest().send().wait(subject.waitScope()); }

void ExecSession::drop() { running.reset(); }

void ExecSession::wait() {
  auto answer = program().waitRequest().send().wait(subject.waitScope());
  seen.ended = true;
  seen.exitCode = answer.getExitCode();
  seen.error = answer.getError().cStr();
}

void ExecSession::waitFor(kj::StringPtr text) {
  while (seen.output.find(text.cStr()) == std::string::npos) {
    subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
  }
}

void execContract(RuntimeSubject& subject) {
  SeenProgram seen;
  ExecSession session(subject, seen);
  SECTION("has its output passed on, stdout and stderr apart, and its exit code told") {
    session.begin("c1", subject.command({.exitCode = 7, .output = "said", .errors = "sworn"}));
    session.wait();
    CHECK(seen.output == "said");
    CHECK(seen.errors == "sworn");
    CHECK(seen.exitCode == 7);
    CHECK(seen.error.empty());
  }
  SECTION("reads what is written to it, to the end of that") {
    session.begin("c1", subject.command({.exitCode = 3, .echoes = true}),
                  [](schema::Program::Builder program) { program.setInput(true); });
    CHECK(session.write("one "));
    CHECK(session.write("two"));
    session.waitFor("one two");
    session.closeInput();
    session.wait();
    CHECK(seen.output == "one two");
    CHECK(seen.exitCode == 3);
    CHECK_FALSE(session.write("three"));
  }
  SECTION("has no input unless that is asked for") {
    session.begin("c1", subject.command({.exitCode = 4, .echoes = true}));
    session.wait();
    CHECK(seen.exitCode == 4);
    CHECK_FALSE(session.write("one"));
  }
  SECTION("that is not there is named") {
    session.begin("c1", subject.command({.missing = true}));
    session.wait();
    CHECK(seen.exitCode == 127);
    CHECK_THAT(seen.error, Catch::StartsWith("cannot run '"));
  }
  SECTION("stands still while what it writes is not taken") {
    seen.stuck = true;
    session.begin("c1", subject.command({.floods = true}));
    while (seen.underWay < MAX_UNDER_WAY) {
      subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
    }
    for (int i = 0; i < 20; ++i) {
      subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
    }
    CHECK(seen.underWay == MAX_UNDER_WAY);
    session.drop();
  }
  SECTION("hears a signal") {
    session.begin("c1", subject.command({.stays = true}));
    session.signal("SIGTERM");
    session.wait();
    CHECK(seen.exitCode == 128 + 15);
  }
  SECTION("is not the only one") {
    SeenProgram other;
    ExecSession second(subject, other);
    session.begin("c1", subject.command({.exitCode = 1, .output = "one"}));
    second.begin("c1", subject.command({.exitCode = 2, .output = "two"}));
    second.wait();
    session.wait();
    CHECK(seen.output + other.output == "onetwo");
    CHECK(seen.exitCode + other.exitCode == 3);
  }
}

}  // namespace orch::conformance
