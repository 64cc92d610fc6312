// Forgets: tasks that were to be removed and have ended, tasks that were given up before they had a
// node, and what exceeds a slot's history.
#pragma once

#include "decide/slot-rules.h"

namespace orch::control::manager {

// `slots` and `leaving` are the service's as they are now.
void reap(View& view, const Slots& slots, const std::vector<TaskReader>& leaving);

}  // namespace orch::control::manager
