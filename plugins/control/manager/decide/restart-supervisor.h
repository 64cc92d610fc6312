// Replaces tasks that ended, or whose node is away, by the service's restart policy, and lets tasks
// start whose delay is over. Swarm mode's rules, with a back-off as the default delay.
#pragma once

#include "decide/reconciler.h"

namespace orch::control::manager {

// Asks for a wake-up when a delay ends.
kj::Own<Reconciler> superviseRestarts(View& view, schema::Service::Reader service);

}  // namespace orch::control::manager
