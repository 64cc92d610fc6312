// Replaces the tasks of an older spec, so many slots at a time, in the order and at the pace of the
// service's update policy. It keeps no state of its own: what an update has done so far is read
// from the tasks, so a new manager goes on where the last one was.
#pragma once

#include "decide/reconciler.h"
#include "decide/spec-meaning.h"

namespace orch::control::manager {

// Once the newest task of a slot runs, or has done what it was for, the older ones are not needed:
// start-first.
kj::Own<Reconciler> retireReplaced(View& view, schema::Service::Reader service);
// A change was taken back while the old task of a slot still ran (start-first): that one is current
// again, and what was to replace it is not needed.
kj::Own<Reconciler> dropOvertaken(View& view, schema::Service::Reader service);
// Asks for wake-ups at the ends of delays, deadlines and the monitor time.
kj::Own<Reconciler> advanceUpdate(View& view, schema::Service::Reader service);

// Whether the task is not what the service's spec asks for, or its node no longer meets the
// constraints. A change of nothing but constraints does not count the spec's version up.
bool isOutdated(const View& view, CurrentSpec& current, const TaskReader& task);
// Whether that may be so of one in a settled slot that was not read. It is known what would have to
// be true of all of them.
bool settledMayBeOutdated(const View& view, schema::Service::Reader service, const Slots& slots);
// The task that stands for the slot: the newest that should run, else the newest.
TaskReader representative(const Slot& slot);

}  // namespace orch::control::manager
