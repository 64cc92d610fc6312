// The contract of sdk/schema/runtime.capnp as tests, for real and simulated runtimes alike.
//
//   TEST_CASE("mine: keeps the contract of a runtime", "[runtime]") {
//     MySubject subject;
//     orch::conformance::runtimeContract(subject);
//   }
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "orch/schema/runtime.capnp.h"

namespace orch::conformance {

// What a container shall do. The subject says it in its runtime's terms.
struct Behaviour {
  std::vector<std::string> output;  // lines to stdout at its start
  std::vector<std::string> errors;  // lines to stderr, after those
  bool stays = false;               // until it is told to end; else it ends at once
  bool ignoresTerm = false;
  bool echoes = false;  // stays, and is interactive: writes each line that it reads
  int exitCode = 0;     // of its own end, also upon SIGTERM
  // After those lines: text as it is, with or without an end of line, each as soon as a line has
  // been read behind the one before. For runtimes that can have faults only.
  struct Piece {
    bool isError;
    std::string text;
  };
  std::vector<Piece> pieces;
};

// The same of a program that is run in a container.
struct Command {
  bool missing = false;  // there is no such program
  bool stays = false;    // until it is ended
  int exitCode = 0;
  std::string output;
  std::string errors;   // `exec` only, as what follows
  bool echoes = false;  // first writes what it reads, to the end of that
  bool floods = false;  // writes without end
};

// One runtime, made anew for each section of the suite.
class RuntimeSubject {
 public:
  virtual ~RuntimeSubject() noexcept(false) {}
  virtual kj::WaitScope& waitScope() = 0;
  virtual kj::Timer& timer() = 0;
  virtual schema::Runtime::Client runtime() = 0;
  // Fills program, image and layers; the suite fills id, labels and task name.
  virtual void script(schema::ContainerRequest::Builder request, const Behaviour& behaviour) = 0;
  virtual std::vector<std::string> command(const Command& command) = 0;
  // A request that this runtime refuses or fails to create, and a part of the error's text.
  virtual kj::StringPtr breakRequest(schema::ContainerRequest::Builder request) = 0;

  // A runtime of real processes on a real disk says true, and answers the rest.
  virtual bool canHaveFaults() { return false; }
  // The process that keeps a container's output and exit status is ended, or stopped (SIGSTOP).
  virtual void killMonitor(kj::StringPtr /*id*/) {}
  virtual void stopMonitor(kj::StringPtr /*id*/) {}
  // The disk of the containers has no space left, or has some again.
  virtual void setDiskFull(bool /*full*/) {}
  // As after SIGKILL of the plugin's process and a new start.
  virtual void restartAfterCrash() {}
};

// Uses Catch's SECTION: to be called from a TEST_CASE, with a new subject each time.
void runtimeContract(RuntimeSubject& subject);
// The part of it that is about `exec`; the other one has it in it. `c1` runs, and is removed.
void execContract(RuntimeSubject& subject);
// The part that is about `attach`, `usage` and `processes`; in it as well. Nothing is there.
void watchContract(RuntimeSubject& subject);

// ---- for further tests of a runtime -----------------------------------------------------------

struct SeenLine {
  bool isError;
  bool partial;
  std::string text;
  int64_t timeNs;
};
// A sink that keeps what it gets. `seen` outlives it.
schema::LogSink::Client keepLines(std::vector<SeenLine>& seen);
// All lines without following.
std::vector<SeenLine> readLogs(RuntimeSubject& subject, kj::StringPtr id, int64_t tail = -1,
                               int64_t sinceNs = 0);
// What a program has written, and how its end was told.
struct SeenProgram {
  std::string output, errors;
  bool stuck = false;  // takes nothing more; `underWay` are the calls that wait then
  unsigned underWay = 0;
  bool ended = false;
  int exitCode = -1;
  std::string error;
};
// Runs a program with `exec`, or looks on by `attach`; `seen` outlives the answer.
class ExecSession final {
 public:
  ExecSession(RuntimeSubject& subject, SeenProgram& seen) : subject(subject), seen(seen) {}
  // `more` adds to what `words` say. Fails as the call does.
  void begin(
      kj::StringPtr id, const std::vector<std::string>& words,
      const std::function<void(schema::Program::Builder)>& more = [](auto) {});
  // Answers whether the container's own process takes input.
  bool attach(kj::StringPtr id, bool input);
  bool write(kj::StringPtr text);
  void closeInput();
  void signal(kj::StringPtr name);
  void resize(uint16_t rows, uint16_t columns);
  void letGo();
  // Nobody looks on any more.
  void drop();
  // To its end.
  void wait();
  // Until the output has this in it.
  void waitFor(kj::StringPtr text);
  schema::RunningProgram::Client& program() { return *running; }

 private:
  RuntimeSubject& subject;
  SeenProgram& seen;
  std::optional<schema::RunningProgram::Client> running;
};

// The error's text; fails the test if there is none.
std::string errorText(kj::Promise<void> promise, kj::WaitScope& waitScope);

}  // namespace orch::conformance
