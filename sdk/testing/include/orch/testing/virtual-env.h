// A world in virtual time. The event loop never waits: when nothing is left to run, time jumps to
// the next timer. Everything random comes from one seed; workers run inline; the file system is in
// memory. The same program with the same seed does the same things in the same order.
#pragma once

#include <kj/async.h>

#include "orch/env.h"

namespace orch::testing {

// A machine of a world: its clocks run as they like, and it may stand still. What it runs gets an
// Env per life, as of one process; a life that is over is dead at once: its timers never fire, its
// calls are never answered. Owned by its world.
class VirtualMachine {
 public:
  // Its wall clock is ahead of the world's by so many nanoseconds (or behind), and both its clocks
  // are fast by so many millionths (or slow).
  virtual void setClock(int64_t aheadNs, int32_t fastPpm) = 0;
  virtual void setHardware(uint64_t cpuNanos, uint64_t memoryBytes) = 0;
  // As by SIGSTOP to all that it runs: time goes on. After `thaw` all that is due comes at once.
  virtual void freeze() = 0;
  virtual void thaw() = 0;
  virtual bool frozen() const = 0;
  // Settles when it is not frozen.
  virtual kj::Promise<void> whenAwake() = 0;
  // A life, with its own sequence of random numbers. `network`, if any, is its network.
  virtual Env& begin(uint64_t salt, kj::Maybe<kj::Own<kj::Network>> network = nullptr) = 0;
  // Its Env stays where it is as long as the world, for what still refers to it.
  virtual void end(Env& life) = 0;
  virtual bool over(Env& life) const = 0;
};

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
  // Lives as long as the world.
  VirtualMachine& newMachine();
  // Called each time that nothing is left to run, before time passes. What it throws ends the wait
  // that the test is in.
  void onQuiet(kj::Function<void()> look);
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
