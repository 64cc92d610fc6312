// The contract of sdk/schema/runtime.capnp as tests, for real and simulated runtimes alike.
//
//   TEST_CASE("mine: keeps the contract of a runtime", "[runtime]") {
//     MySubject subject;
//     orch::conformance::runtimeContract(subject);
//   }
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

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
  int exitCode = 0;  // of its own end, also upon SIGTERM
  // After those lines, one after the other: text as it is, with or without an end of line. For
  // runtimes that can have faults only.
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
// The error's text; fails the test if there is none.
std::string errorText(kj::Promise<void> promise, kj::WaitScope& waitScope);

}  // namespace orch::conformance
