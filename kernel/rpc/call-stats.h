// How long calls into one plugin take: counts by power of two of microseconds. And whether it still
// answers.
#pragma once

#include <kj/async.h>

#include <array>
#include <cstdint>

namespace orch::rpc {

class CallStats final {
 public:
  static constexpr uint32_t LATE_CALLS = 2;  // in a row: then somebody should look

  void add(uint64_t us) {
    addUntimed();
    size_t bucket = 0;
    while (bucket + 1 < buckets.size() && (1ull << bucket) < us) ++bucket;
    ++buckets[bucket];
  }
  // An answer of whatever kind, an error too, or of a call that takes as long as the work takes.
  void addUntimed() {
    lateInARow = 0;
    ++count;
  }
  // A call has not been answered within its deadline.
  void addLate() {
    if (++lateInARow < LATE_CALLS) return;
    KJ_IF_MAYBE (fulfiller, watcher) (*fulfiller)->fulfill();
    watcher = nullptr;
  }
  // Settles after the next LATE_CALLS deadlines in a row. One at a time may ask.
  kj::Promise<void> whenLate() {
    lateInARow = 0;
    auto pair = kj::newPromiseAndFulfiller<void>();
    watcher = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }

  uint64_t calls() const { return count; }
  // The upper edge of the bucket that holds the 99th percentile.
  uint64_t p99Us() const {
    uint64_t timed = 0, seen = 0;
    for (auto calls : buckets) timed += calls;
    for (size_t i = 0; i < buckets.size() && timed > 0; ++i) {
      seen += buckets[i];
      if (seen * 100 >= timed * 99) return 1ull << i;
    }
    return 0;
  }

 private:
  std::array<uint64_t, 32> buckets{};
  uint64_t count = 0;
  uint32_t lateInARow = 0;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> watcher;
};

}  // namespace orch::rpc
