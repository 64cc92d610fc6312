// `orch why`: where a task may run, what keeps it from the other nodes and what would take that
// away, and how those that are left compare.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "schedule/scheduling.h"

namespace orch::control::manager {

// `id`: of a task, or a service, as users type it. Fails if there is neither.
Task<void> explainPlacing(Scheduling& scheduling, View& view, kj::StringPtr id,
                          schema::Placing::Builder answer);

}  // namespace orch::control::manager
