// The service `cluster`: from calls to requests of the manager and back. Decides nothing.
#pragma once

#include "log-streams.h"
#include "manager.h"
#include "orch/schema/cluster.capnp.h"
#include "progress.h"
#include "service-requests.h"
#include "sessions.h"

namespace orch::control::manager {

struct ClusterParts {
  Env& env;
  Host& host;
  Manager& manager;
  Sessions& sessions;
  ProgressTable& progress;
  LogStreams& logs;
  Config::Reader settings;
};

// `owner` keeps the parts alive.
schema::ClusterControl::Client newClusterServer(kj::Own<kj::Refcounted> owner, ClusterParts parts);

}  // namespace orch::control::manager
