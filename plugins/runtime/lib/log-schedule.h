// When the size of a container's log is looked at: soon after its start, then the less often the
// slower it grows. Pure.
#pragma once

#include <kj/time.h>

#include <cstdint>

namespace orch::runtime {

struct LogWatch {
  kj::TimePoint lookedAt = kj::origin<kj::TimePoint>();
  kj::TimePoint due = kj::origin<kj::TimePoint>();
  kj::TimePoint missingSince = kj::origin<kj::TimePoint>();  // origin: it is there
  uint64_t bytes = 0;                                        // when it was looked at
  uint64_t everyMs = 0;
  bool failing = false;  // and that has been said
};

// The shortest time between two looks: what a program writes in it at full speed is some MB.
constexpr uint64_t MIN_LOOK_MS = 20;
// Of a log that has just been begun.
constexpr uint64_t FIRST_LOOK_MS = 100;

// Milliseconds until the next look at a log that has grown by `grown` in `elapsedMs` and may grow
// by `left` bytes more. One that rests is looked at half as often each time, down to every `maxMs`.
inline uint64_t nextLookMs(uint64_t grown, uint64_t elapsedMs, uint64_t left, uint64_t lastMs,
                           uint64_t maxMs) {
  uint64_t next = 2 * lastMs;
  if (grown > 0) next = static_cast<uint64_t>(double(left) * double(elapsedMs) / double(grown));
  if (next > maxMs) next = maxMs;
  return next < MIN_LOOK_MS ? MIN_LOOK_MS : next;
}

// When that is. Logs at rest are looked at together, so that a thousand of them are one job.
inline kj::TimePoint dueAfter(kj::TimePoint now, uint64_t everyMs, uint64_t maxMs) {
  auto period = everyMs * kj::MILLISECONDS;
  if (everyMs < maxMs) return now + period;
  auto begin = kj::origin<kj::TimePoint>();
  return begin + ((now - begin) / period + 1) * period;
}

}  // namespace orch::runtime
