// Who may touch the folder of layers. Transfers add layers, so many at a time; a sweep takes away
// those that no image needs, and runs only while there is no transfer, since a transfer may be
// relying on a layer that no image names yet.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include "orch/semaphore.h"
#include "orch/task.h"

namespace orch::image::oci {

class JobGate final {
 public:
  // Held by a transfer until its folder is gone and its images are in the index.
  class Pass final {
   public:
    Pass(JobGate& gate, Semaphore::Pass place);
    KJ_DISALLOW_COPY(Pass);
    ~Pass() noexcept(false);

   private:
    JobGate& gate;
    Semaphore::Pass place;
  };

  // `sweep` starts one; it is never called while another runs. Its failure is the one's who asked.
  JobGate(unsigned transfers, kj::Function<kj::Promise<void>()> sweep);
  KJ_DISALLOW_COPY(JobGate);

  Task<kj::Own<Pass>> enter();
  // Settles when what nobody needs is gone; at once if transfers run: then the last of them leaves
  // a sweep behind.
  kj::Promise<void> sweepWhenIdle();
  // No sweep begins any more: the owner is about to go.
  void close() { closed = true; }

 private:
  kj::Promise<void> startSweep();
  Semaphore places;
  kj::Function<kj::Promise<void>()> sweep;
  unsigned passes = 0;
  bool wanted = false;
  bool sweepRuns = false;
  bool closed = false;
  kj::ForkedPromise<void> lastSweep;
};

}  // namespace orch::image::oci
