// One job of a child process in a folder of its own, which goes when the job goes: whether it is
// done, has failed or is cancelled. A child that still runs then is killed, and the folder removed
// after it has ended.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/refcount.h>

#include <string>

#include "job-gate.h"
#include "orch/env.h"

namespace orch::image::oci {

struct ChildResult {
  int status = 0;     // exit status, or 128 + signal
  kj::String errors;  // the end of stderr, at most 16 KiB
};

// `env`, `cleaners` and the gate behind `pass` outlive it; `cleaners` finishes what it leaves.
class Job final {
 public:
  Job(Env& env, kj::TaskSet& cleaners, std::string folder, kj::Own<JobGate::Pass> pass);
  ~Job() noexcept(false);
  KJ_DISALLOW_COPY(Job);

  const std::string& folder() const { return path; }
  // Creates the folder.
  Task<void> prepare();
  // Runs a program to its end, one at a time. `onLine` gets each line of its stdout; one of more
  // than 4 KiB is cut.
  Task<ChildResult> run(ProcessSpec spec, kj::Function<void(kj::StringPtr)> onLine);
  // Ends it now: nothing is left when the promise settles. Never fails.
  kj::Promise<void> finish();

 private:
  // Owned by the job, and by whoever waits for it.
  struct Child final : public kj::Refcounted {
    kj::ForkedPromise<void> started{nullptr};
    kj::Maybe<kj::Own<Process>> process;  // both from `started` on
    kj::Maybe<kj::ForkedPromise<int>> exit;
  };

  kj::Promise<void> clean();
  Env& env;
  kj::TaskSet& cleaners;
  const std::string path;
  kj::Maybe<kj::Own<JobGate::Pass>> pass;   // none: it is finished
  kj::Maybe<kj::ForkedPromise<void>> made;  // the folder: another thread makes it
  kj::Maybe<kj::Own<Child>> child;          // the last that was started
};

}  // namespace orch::image::oci
