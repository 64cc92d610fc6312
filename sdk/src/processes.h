// The real Processes: vfork and exec, watched by pidfd.
#pragma once

#include <kj/async-unix.h>

#include "orch/env.h"

namespace orch {

class SystemProcesses final : public Processes, private kj::TaskSet::ErrorHandler {
 public:
  // Children get the soft limit of open files that holds now, whatever this process raises its own
  // to: programs that close or poll everything up to it, and select(2), do badly with a high one.
  explicit SystemProcesses(kj::UnixEventPort& port);

  kj::Promise<kj::Own<Process>> spawn(ProcessSpec spec) override;
  kj::Promise<void> whenGone(int pidfd) override;

 private:
  void taskFailed(kj::Exception&& exception) override;

  kj::UnixEventPort& port;
  uint64_t openFiles = 0;  // of a child; the hard limit is this process's
  kj::TaskSet reapers;
};

}  // namespace orch
