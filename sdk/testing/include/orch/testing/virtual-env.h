// A world in virtual time. The event loop never waits: when nothing is left to run, time jumps to
// the next timer. Everything random comes from one seed; workers run inline; the file system is in
// memory. The same program with the same seed does the same things in the same order.
#pragma once

#include <kj/async.h>

#include "orch/env.h"

namespace orch::testing {

// One per test; several kernels may share it, each with an Env of its own from `newEnv`.
class VirtualWorld final {
 public:
  explicit VirtualWorld(uint64_t seed);
  ~VirtualWorld() noexcept(false);
  KJ_DISALLOW_COPY(VirtualWorld);

  // Lives as long as the world.
  Env& env();
  // A further Env of the same world: same time, a random sequence of its own from `salt`.
  kj::Own<Env> newEnv(uint64_t salt);
  kj::WaitScope& waitScope();
  uint64_t seed() const;

  // Runs whatever is due in the next `duration` of virtual time.
  void advance(kj::Duration duration);
  // Time passes, and the loop does not turn: a machine that was paused, a loop that is stuck.
  void standStill(kj::Duration duration);
  // Runs what is ready now, without letting time pass.
  void settle();

 private:
  struct Impl;
  kj::Own<Impl> impl;
};

// ORCH_SEED of the environment, or 1; printed, so that a failure can be run again.
uint64_t testSeed();

}  // namespace orch::testing
