// How long calls into one plugin take: counts by power of two of microseconds.
#pragma once

#include <array>
#include <cstdint>

namespace orch::rpc {

class CallStats final {
 public:
  void add(uint64_t us) {
    ++count;
    size_t bucket = 0;
    while (bucket + 1 < buckets.size() && (1ull << bucket) < us) ++bucket;
    ++buckets[bucket];
  }
  uint64_t calls() const { return count; }
  // The upper edge of the bucket that holds the 99th percentile.
  uint64_t p99Us() const {
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets.size(); ++i) {
      seen += buckets[i];
      if (count > 0 && seen * 100 >= count * 99) return 1ull << i;
    }
    return 0;
  }

 private:
  std::array<uint64_t, 32> buckets{};
  uint64_t count = 0;
};

}  // namespace orch::rpc
