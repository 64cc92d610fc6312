// Forgets: tasks that were to be removed and have ended, tasks that were given up before they had a
// node, and what exceeds a slot's history.
#pragma once

#include "decide/reconciler.h"

namespace orch::control::manager {

// The service may be gone.
kj::Own<Reconciler> reap(View& view);
// How many tasks a slot keeps.
size_t historyLimit(const View& view);

}  // namespace orch::control::manager
