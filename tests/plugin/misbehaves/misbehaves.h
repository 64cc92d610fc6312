// A scheduler whose `open` does what the id of its first node says: "crash", "block", "hang",
// "throw", or answers.
#pragma once

#include "orch/env.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::test::misbehaves {

schema::Scheduler::Client newMisbehaviour(Env& env);

}  // namespace orch::test::misbehaves
