#include "job-gate.h"

#include <kj/debug.h>

namespace orch::image::oci {

JobGate::Pass::Pass(JobGate& gate, Semaphore::Pass place) : gate(gate), place(kj::mv(place)) {
  ++gate.passes;
}

JobGate::Pass::~Pass() noexcept(false) {
  --gate.passes;
  if (gate.passes == 0 && gate.wanted && !gate.closed) gate.startSweep();
}

JobGate::JobGate(unsigned transfers, kj::Function<kj::Promise<void>()> sweep)
    : places(transfers, "too many image transfers wait already"_kj),
      sweep(kj::mv(sweep)),
      lastSweep(kj::Promise<void>(kj::READY_NOW).fork()) {}

Task<kj::Own<JobGate::Pass>> JobGate::enter() {
  auto place = co_await places.enter();
  while (sweepRuns) {
    auto swept = lastSweep.addBranch().catch_([](kj::Exception&&) {});
    co_await swept;
  }
  co_return kj::heap<Pass>(*this, kj::mv(place));
}

kj::Promise<void> JobGate::sweepWhenIdle() {
  wanted = true;
  if (passes > 0) return kj::READY_NOW;
  if (!sweepRuns) return startSweep();
  // The one that runs may have looked before our change.
  return lastSweep.addBranch().catch_([](kj::Exception&&) {}).then([this]() {
    return passes == 0 && wanted && !sweepRuns ? startSweep() : kj::READY_NOW;
  });
}

kj::Promise<void> JobGate::startSweep() {
  wanted = false;
  sweepRuns = true;
  lastSweep = sweep().attach(kj::defer([this]() { sweepRuns = false; })).fork();
  return lastSweep.addBranch();
}

}  // namespace orch::image::oci
