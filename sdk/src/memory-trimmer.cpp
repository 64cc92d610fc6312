#include "memory-trimmer.h"

#include <malloc.h>

namespace orch {

namespace {
constexpr auto INTERVAL = 3 * kj::SECONDS;
// Less than this in free chunks is not worth the system calls.
constexpr size_t WORTH_BYTES = 256 << 10;
// glibc would raise its limits with the first large block that is freed, and keep more from then
// on.
constexpr int LARGE_BLOCK_BYTES = 128 << 10;
}  // namespace

MemoryTrimmer::MemoryTrimmer(kj::Timer& timer) : timer(timer), trimming(nullptr) {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
  mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES);
  trimming = trim().eagerlyEvaluate(nullptr);
}

kj::Promise<void> MemoryTrimmer::trim() {
  return timer.afterDelay(INTERVAL).then([this]() {
    if (mallinfo2().fordblks > WORTH_BYTES) malloc_trim(0);
    return trim();
  });
}

}  // namespace orch
