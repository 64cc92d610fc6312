// What every plugin of kind `scheduler` has to keep (sdk/schema/scheduler.capnp), as checks that
// know only the interface. They say where a task may go and how many find room, never which of
// several nodes is the best: that is what strategies differ in.
#pragma once

#include <kj/async.h>
#include <kj/common.h>

#include "orch/schema/scheduler.capnp.h"

namespace orch::conformance {

struct SchedulerCheck {
  const char* name;  // a sentence
  void (*run)(schema::Scheduler::Client scheduler, kj::WaitScope& waitScope);
};

// Each opens tables of its own and throws an exception that says what was not kept.
kj::ArrayPtr<const SchedulerCheck> schedulerChecks();

}  // namespace orch::conformance
