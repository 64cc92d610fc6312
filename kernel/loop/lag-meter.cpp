#include "kernel/loop/lag-meter.h"

#include <algorithm>

namespace orch::loop {

LagMeter::LagMeter(kj::Timer& timer)
    : timer(timer), beating(beat().eagerlyEvaluate([](kj::Exception&&) {})) {}

kj::Promise<void> LagMeter::beat() {
  auto due = timer.now() + BEAT_MS * kj::MILLISECONDS;
  return timer.atTime(due).then([this, due]() {
    double late = (timer.now() - due) / kj::MICROSECONDS / 1000.0;
    lags[beats() % lags.size()] = late;
    beatCount.fetch_add(1, std::memory_order_relaxed);
    return beat();
  });
}

double LagMeter::maxMs() const { return *std::max_element(lags.begin(), lags.end()); }

double LagMeter::p99Ms() const {
  auto sorted = lags;
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() * 99 / 100];
}

}  // namespace orch::loop
