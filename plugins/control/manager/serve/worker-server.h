// The service `cluster` on a worker: it says what this node is, and who the managers are.
#pragma once

#include "member/membership.h"
#include "orch/schema/cluster.capnp.h"

namespace orch::control::manager {

// `owner` keeps the parts alive.
schema::ClusterControl::Client newWorkerServer(kj::Own<kj::Refcounted> owner, Host& host,
                                               Membership& members);

}  // namespace orch::control::manager
