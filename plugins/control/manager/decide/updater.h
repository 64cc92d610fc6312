// Replaces the tasks of an older spec, so many slots at a time, in the order and at the pace of the
// service's update policy. It keeps no state of its own: what an update has done so far is read
// from the tasks, so a new manager goes on where the last one was.
#pragma once

#include "decide/slot-rules.h"
#include "decide/spec-meaning.h"

namespace orch::control::manager {

// Asks for wake-ups at the ends of delays, deadlines and the monitor time.
Step advanceUpdate(View& view, schema::Service::Reader service, const Slots& slots);

// Whether the task is not what the service's spec asks for, or its node no longer meets the
// constraints. A change of nothing but constraints does not count the spec's version up.
bool isOutdated(const View& view, CurrentSpec& current, const TaskReader& task);
// The task that stands for the slot: the newest that should run, else the newest.
TaskReader representative(const Slot& slot);

}  // namespace orch::control::manager
