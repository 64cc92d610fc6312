// Deadlines for others that a standstill of this process does not use up.
#pragma once

#include <kj/timer.h>

namespace orch::loop {

// Settles when the loop has turned for `duration`: what a deadline for somebody else is measured
// with. While this process was stopped (SIGSTOP, a suspended machine) or its loop was held, an
// answer may have come that nobody could take; such time is not charged. Where the loop is late all
// the time, the duration grows to twice of it at most, and by how late the loop is. Exact
// otherwise.
kj::Promise<void> turnedFor(kj::Timer& timer, kj::Duration duration);

}  // namespace orch::loop
