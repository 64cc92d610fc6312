// A program that somebody runs in a container, where its calls pass through a manager or an agent.
#pragma once

#include <kj/function.h>

#include "orch/schema/runtime.capnp.h"

namespace orch::control {

struct ProgramEnd {
  kj::Maybe<int> exitCode;  // null: it is not known
  kj::String error;
};

// `inner`, until `over` settles, in whatever way: then that is dropped, which ends the program, and
// its calls fail with `lost`. `onEnd` is told once, of its end or of that: at the latest when
// nobody holds the answer any more.
schema::RunningProgram::Client relayProgram(schema::RunningProgram::Client inner,
                                            kj::Promise<void> over, kj::String lost,
                                            kj::Function<void(const ProgramEnd&)> onEnd);

}  // namespace orch::control
