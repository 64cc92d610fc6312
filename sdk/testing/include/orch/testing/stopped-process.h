// A process that stands still, for tests of what others do then.
#pragma once

#include <sys/types.h>

namespace orch::testing {

// Sends SIGSTOP, and returns when none of the process's threads runs any more: kill(2) returns when
// the signal is on its way, and a busy machine may let the process do much before it comes. Goes on
// with SIGCONT.
void stopProcess(pid_t pid);

}  // namespace orch::testing
