// A scheduler whose `open` does what the id of its first node says, and its table's `place` what
// the group's service says: "crash", "block", "hang", "throw", a fault such as "segv", "worker "
// and a fault or "hang" for one on a thread of the worker pool, or they answer.
#pragma once

#include "orch/env.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::test::misbehaves {

schema::Scheduler::Client newMisbehaviour(Env& env);

}  // namespace orch::test::misbehaves
