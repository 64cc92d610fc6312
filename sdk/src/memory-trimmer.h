// Keeps the process as small as what it holds and does: a burst of work leaves the allocator with
// pages that it would keep for ever, and a start leaves most pages of programs and libraries mapped
// that only it needed.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

namespace orch {

class MemoryTrimmer final {
 public:
  // From here on the process has one heap: with one per thread, each would keep its own peak.
  explicit MemoryTrimmer(kj::Timer& timer);

 private:
  kj::Promise<void> trim();

  kj::Timer& timer;
  char* const heap;  // its end when the process was small
  unsigned rounds = 0;
  kj::Promise<void> trimming;
};

}  // namespace orch
