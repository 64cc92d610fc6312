// The real Processes: vfork and exec, watched by pidfd.
#pragma once

#include <kj/async-unix.h>

#include "orch/env.h"

namespace orch {

class SystemProcesses final : public Processes, private kj::TaskSet::ErrorHandler {
 public:
  explicit SystemProcesses(kj::UnixEventPort& port) : port(port), reapers(*this) {}

  kj::Promise<kj::Own<Process>> spawn(ProcessSpec spec) override;
  kj::Promise<void> whenGone(int pidfd) override;

 private:
  void taskFailed(kj::Exception&& exception) override;

  kj::UnixEventPort& port;
  kj::TaskSet reapers;
};

}  // namespace orch
