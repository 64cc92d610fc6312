// A scheduler whose `open` does what the id of its first node says, and its table's `place` what
// the group's service says: "crash", "block", "hang", "throw", a fault such as "segv", "worker "
// and a fault or "hang" for one on a thread of the worker pool, or they answer. "complain" answers
// and writes an error to the log.
#pragma once

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::test::misbehaves {

schema::Scheduler::Client newMisbehaviour(Env& env, Host& host);

}  // namespace orch::test::misbehaves
