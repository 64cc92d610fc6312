// Everything that has to happen to one service, in order: restarts, replicas, update, history.
#pragma once

#include "state/view.h"

namespace orch::control::manager {

// True if there is more to do than one pass should: call again in the next pass.
bool reconcileService(View& view, std::string_view serviceId);

// Nodes that have not been heard of for too long: the tasks of a node that has been down for
// `orphanAfterNs` count as ended. Answers when to look again.
int64_t reconcileNodes(View& view, int64_t orphanAfterNs);

// Forgets request ids that are older than `memoryNs` or beyond the newest `memoryCount`, some per
// pass. Answers when to look again.
int64_t forgetRequests(View& view, int64_t memoryNs, size_t memoryCount);

}  // namespace orch::control::manager
