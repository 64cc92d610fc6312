#include "kernel/loop/turned-for.h"

#include "orch/task.h"

namespace orch::loop {

namespace {
// A standstill of any length costs none of these, and one that goes on each time every second one.
constexpr int SLICES = 8;

Task<void> turnInSlices(kj::Timer& timer, kj::Duration duration) {
  const auto slice = duration / SLICES;
  bool forgiven = false;
  for (int left = SLICES; left > 0;) {
    auto length = left == 1 ? duration - slice * (SLICES - 1) : slice;
    auto due = timer.now() + length;
    co_await timer.atTime(due);
    bool stoodStill = timer.now() - due > length;
    if (stoodStill && !forgiven) {
      forgiven = true;
      continue;
    }
    forgiven = false;
    --left;
  }
}

}  // namespace

kj::Promise<void> turnedFor(kj::Timer& timer, kj::Duration duration) {
  return turnInSlices(timer, duration);
}

}  // namespace orch::loop
