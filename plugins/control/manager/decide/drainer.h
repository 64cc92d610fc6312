// Moves what runs on drained nodes, so many slots at a time, in the order and at the pace of each
// service's update policy. Like the updater it keeps no state of its own. What does not run yet, or
// whose node is down as well, is moved at once, by the restart supervisor; while a service is being
// updated, by the updater.
#pragma once

#include "decide/reconciler.h"

namespace orch::control::manager {

// Asks for wake-ups at the ends of delays and deadlines.
kj::Own<Reconciler> drainNodes(View& view, schema::Service::Reader service);

}  // namespace orch::control::manager
