#include "job-gate.h"

#include <kj/debug.h>

namespace orch::image::oci {

kj::Promise<kj::Own<Permits::Permit>> Permits::acquire() {
  if (free > 0) {
    --free;
    return kj::heap<Permit>(*this);
  }
  if (waiting.size() >= MAX_WAITING) {
    return KJ_EXCEPTION(OVERLOADED, "too many image transfers wait already");
  }
  auto pair = kj::newPromiseAndFulfiller<kj::Own<Permit>>();
  waiting.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void Permits::giveBack() {
  while (!waiting.empty()) {
    auto first = kj::mv(waiting.front());
    waiting.pop_front();
    if (!first->isWaiting()) continue;
    // If the waiter is cancelled before it sees its permit, the permit's end comes back here.
    first->fulfill(kj::heap<Permit>(*this));
    return;
  }
  ++free;
}

JobGate::Pass::Pass(JobGate& gate, kj::Own<Permits::Permit> permit)
    : gate(gate), permit(kj::mv(permit)) {
  ++gate.passes;
}

JobGate::Pass::~Pass() noexcept(false) {
  --gate.passes;
  if (gate.passes == 0 && gate.wanted && !gate.closed) gate.startSweep();
}

JobGate::JobGate(unsigned transfers, kj::Function<kj::Promise<void>()> sweep)
    : permits(transfers),
      sweep(kj::mv(sweep)),
      lastSweep(kj::Promise<void>(kj::READY_NOW).fork()) {}

Task<kj::Own<JobGate::Pass>> JobGate::enter() {
  auto permit = co_await permits.acquire();
  while (sweepRuns) {
    auto swept = lastSweep.addBranch().catch_([](kj::Exception&&) {});
    co_await swept;
  }
  co_return kj::heap<Pass>(*this, kj::mv(permit));
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
