// Forgets: tasks that were to be removed and have ended, tasks that were given up before they had a
// node, and what exceeds a slot's history.
#pragma once

#include "decide/slot-rules.h"

namespace orch::control::manager {

// `slots` are the service's as they are now.
void reap(View& view, const Slots& slots);
// How many tasks a slot keeps.
size_t historyLimit(const View& view);

}  // namespace orch::control::manager
