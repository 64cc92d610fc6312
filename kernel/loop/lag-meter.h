// How late the loop is: a timer that says when it should have run and when it did. The watchdog's
// thread reads the last beat; everybody who measures silence adds the lag to his deadline.
#pragma once

#include <kj/timer.h>

#include <array>
#include <atomic>

namespace orch::loop {

class LagMeter final {
 public:
  static constexpr uint32_t BEAT_MS = 1000;

  explicit LagMeter(kj::Timer& timer);

  double maxMs() const;  // of the last minute
  double p99Ms() const;
  // Thread-safe: counts up with every beat.
  uint64_t beats() const { return beatCount.load(std::memory_order_relaxed); }

 private:
  kj::Promise<void> beat();

  kj::Timer& timer;
  std::array<double, 60> lags{};
  std::atomic<uint64_t> beatCount{0};
  kj::Promise<void> beating;
};

}  // namespace orch::loop
