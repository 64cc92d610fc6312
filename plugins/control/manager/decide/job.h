// What jobs have beside restarts and slots: runs that begin by a schedule, of which only the newest
// one's tasks go on, and which end when every task has completed or was given up.
#pragma once

#include "decide/reconciler.h"

namespace orch::control::manager {

// Begins the first run of a job without a schedule, and each that a schedule asks for. Of several
// whose time passed while no manager was there one begins. Asks for a wake-up at the next time.
kj::Own<Reconciler> keepSchedule(View& view, schema::Service::Reader service);
// Tasks of earlier runs end, and what runs in a slot that has completed.
kj::Own<Reconciler> endPastRuns(View& view, schema::Service::Reader service);
kj::Own<Reconciler> concludeRun(View& view, schema::Service::Reader service);

}  // namespace orch::control::manager
