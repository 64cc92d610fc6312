// Waiting for a service to become what it was asked to be, and showing how far it is.
#pragma once

#include "command.h"
#include "orch/schema/cluster.capnp.h"
#include "output.h"

namespace orch::cli {

enum class Goal { converged, gone };

// What is waited for.
struct Wait {
  kj::String id;
  kj::String name;
  Goal goal = Goal::converged;
  bool quiet = false;
  // So long it has to stay converged. Not waited for after an update of the command's own, through
  // which the server has watched, and not if all tasks have come to a good end.
  uint64_t verifyMs = 0;
  // When the update began that was paused before the command: this pause is not its failure. 0:
  // none.
  int64_t pausedBeforeNs = 0;
  // When the update began that the command asked for. Another one in its place is a failure. 0:
  // none.
  int64_t updateNs = 0;
};

// Waits until the service has converged, or until it and its containers are gone. Prints how far
// it is unless `quiet`: on a terminal lines that change in place, else a line when something has
// changed, and each reason for a delay once. The result is the exit status: 1, with the reason on
// stderr, if it cannot get there by itself. A connection that breaks is made again.
Task<int> waitFor(Context& context, Wait wait);

// The lines that show `progress`: one for the service, and one for each task if there are at most
// 20. For a terminal of `columns`.
kj::Vector<kj::String> progressLines(schema::ServiceProgress::Reader progress, Goal goal,
                                     unsigned columns);
// The one line for the service.
kj::String overallLine(schema::ServiceProgress::Reader progress, Goal goal);

// Why tasks do not run, without the ids in the texts, and how many tasks say so.
struct Reason {
  kj::String text;
  unsigned tasks = 0;
};
kj::Vector<Reason> reasonsOf(schema::ServiceProgress::Reader progress);
// `text` without the ids of tasks and containers and without the slots of those, which make equal
// reasons look different.
kj::String withoutIds(kj::StringPtr text);

}  // namespace orch::cli
