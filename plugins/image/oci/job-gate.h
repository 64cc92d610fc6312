// Who may touch the folder of layers. Transfers add layers, so many at a time; a sweep takes away
// those that no image needs, and runs only while there is no transfer, since a transfer may be
// relying on a layer that no image names yet.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include <deque>

#include "orch/task.h"

namespace orch::image::oci {

// So many at once, the rest in order of arrival. Outlives its permits.
class Permits final {
 public:
  class Permit final {
   public:
    explicit Permit(Permits& of) : of(of) {}
    KJ_DISALLOW_COPY(Permit);
    ~Permit() noexcept(false) { of.giveBack(); }

   private:
    Permits& of;
  };
  static constexpr size_t MAX_WAITING = 10'000;

  explicit Permits(unsigned count) : free(count) {}
  KJ_DISALLOW_COPY(Permits);
  // Fails with OVERLOADED if too many wait already. Dropping the promise gives up the place.
  kj::Promise<kj::Own<Permit>> acquire();

 private:
  void giveBack();
  unsigned free;
  std::deque<kj::Own<kj::PromiseFulfiller<kj::Own<Permit>>>> waiting;
};

class JobGate final {
 public:
  // Held by a transfer until its folder is gone and its images are in the index.
  class Pass final {
   public:
    Pass(JobGate& gate, kj::Own<Permits::Permit> permit);
    KJ_DISALLOW_COPY(Pass);
    ~Pass() noexcept(false);

   private:
    JobGate& gate;
    kj::Own<Permits::Permit> permit;
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
  Permits permits;
  kj::Function<kj::Promise<void>()> sweep;
  unsigned passes = 0;
  bool wanted = false;
  bool sweepRuns = false;
  bool closed = false;
  kj::ForkedPromise<void> lastSweep;
};

}  // namespace orch::image::oci
