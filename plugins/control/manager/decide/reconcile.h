// Who looks at what is dirty. A new reconciler is a function in a file of its own and a line in
// reconcile.cpp's tables.
#pragma once

#include "config.capnp.h"
#include "decide/dirty-queue.h"
#include "state/view.h"

namespace orch::control::manager {

// Answers when to look again: NEVER_NS, or now if there is more to do than one pass should. Not for
// placements: those ask plugins (scheduling.h).
int64_t reconcile(View& view, Config::Reader settings, const DirtyKey& key);

// Everything that has to happen to one service, in order: restarts, slots, update, history. True if
// there is more to do than one pass should.
bool reconcileService(View& view, std::string_view serviceId);

}  // namespace orch::control::manager
