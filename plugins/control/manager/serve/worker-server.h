// The service `cluster` on a worker: it says what this node is, who the managers are, and what runs
// here.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "serve/worker-tasks.h"

namespace orch::control::manager {

// `owner` keeps the parts alive.
schema::ClusterControl::Client newWorkerServer(kj::Own<kj::Refcounted> owner, WorkerParts parts);
// The service `cluster-tasks` there: it says that only managers know them.
capnp::Capability::Client newWorkerFeed(kj::Own<kj::Refcounted> owner, WorkerParts parts);

}  // namespace orch::control::manager
