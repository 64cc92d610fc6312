// A server that a test runs beside itself: one that is there already, with a process of its own.
#pragma once

#include <string>

#include "orch/env.h"

namespace orch::testing {

// Its process ends with it. What it says goes into a file; the last of it is printed when it goes
// because a test fails.
class TestServer final {
 public:
  // `env` is a real one and outlives it. `log`: of that path; a server that starts again appends.
  TestServer(Env& env, kj::WaitScope& scope, kj::StringPtr log);
  ~TestServer() noexcept(false);
  KJ_DISALLOW_COPY(TestServer);

  // While it does not run.
  void start(ProcessSpec spec);
  // By SIGKILL; returns when it is gone. Nothing happens if it does not run.
  void kill();
  // After SIGSTOP it does nothing any more when this returns.
  void signal(int number);

 private:
  void printLog() const;

  Env& env;
  kj::WaitScope& scope;
  const std::string log;
  kj::Own<Process> process;
  kj::Promise<int> exit = nullptr;
};

}  // namespace orch::testing
