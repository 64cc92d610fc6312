// Programs that are run in a container that runs. Into each container that is asked for one the
// OCI runtime brings a runner (runner/runner.c), once; it stays and costs each further program no
// more than a fork in the container.
#pragma once

#include <kj/async-io.h>
#include <kj/io.h>

#include <string>
#include <vector>

#include "orch/env.h"

namespace orch::runtime {

struct RunResult {
  int exitCode = 0;
  bool timedOut = false;
  kj::Array<kj::byte> output;  // the last bytes of stdout and stderr
};

// orchd's end. Dropping it has the runner end all that it runs, and itself.
class Runner final {
 public:
  // `process` is a pidfd, so that one that does not listen any more can be ended.
  Runner(kj::Own<kj::AsyncIoStream> socket, kj::AutoCloseFd process);
  KJ_DISALLOW_COPY(Runner);

  // One at a time. After a failure, or if it is dropped, the runner is of no use any more. Fails
  // with what keeps the program from being executed, and if the runner has ended.
  Task<RunResult> run(const std::vector<std::string>& command, uint64_t timeoutMs,
                      uint32_t maxOutputBytes);
  // For one that does not answer: it may not notice that it is dropped either.
  void kill();
  bool hasEnded() const;
  // It can be asked again.
  bool isIdle() const { return idle; }

 private:
  kj::Own<kj::AsyncIoStream> socket;
  kj::AutoCloseFd process;
  bool idle = true;
};

// The runner's program, in memory of this process that cannot be written any more: containers
// execute it, and none can change it under the others.
kj::AutoCloseFd runnerProgram();

// The OCI runtime's process.json for a runner: as the container's own process, whose bundle's
// configuration this is, but for the program and a terminal.
std::string runnerProcess(const std::string& config);

}  // namespace orch::runtime
