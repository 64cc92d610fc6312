// Waiting for a service to become what it was asked to be, and showing how far it is.
#pragma once

#include "command.h"
#include "orch/schema/cluster.capnp.h"
#include "output.h"

namespace orch::cli {

enum class Goal { converged, gone };

// Waits until the service `id` has converged, or until it and its containers are gone. Prints how
// far it is unless `quiet`: on a terminal lines that change in place, else a line when something
// has changed. The result is the exit status: 1, with the reason on stderr, if it cannot get there
// by itself. A connection that breaks is made again.
Task<int> waitFor(Context& context, kj::String id, kj::String name, Goal goal, bool quiet);

// The lines that show `progress`: one for the service, and one for each task if there are at most
// 20. For a terminal of `columns`.
kj::Vector<kj::String> progressLines(schema::ServiceProgress::Reader progress, Goal goal,
                                     unsigned columns);
// The one line for the service.
kj::String overallLine(schema::ServiceProgress::Reader progress, Goal goal);

}  // namespace orch::cli
