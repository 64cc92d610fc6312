// Replaces tasks that ended, or whose node is away, by the service's restart policy, and lets tasks
// start whose delay is over. Swarm mode's rules, with a back-off as the default delay.
#pragma once

#include "decide/slot-rules.h"

namespace orch::control::manager {

// Asks for a wake-up when a delay ends.
Step superviseRestarts(View& view, schema::Service::Reader service, const Slots& slots);

}  // namespace orch::control::manager
