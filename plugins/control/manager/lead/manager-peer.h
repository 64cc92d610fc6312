// What the leader has for the other managers.
#pragma once

#include "lead/leadership.h"
#include "lead/status.h"
#include "session/sessions.h"

namespace orch::control::manager {

struct PeerParts {
  Env& env;
  Manager& manager;
  Leadership& leadership;
  Membership& members;
  Sessions& sessions;
  StatusQueries& status;
  // The service `cluster` as the users of a node have it.
  kj::Function<schema::ClusterControl::Client(std::string nodeId)> clusterFor;
  // One of `join`, `renewal` and `admin`.
  kj::Function<capnp::Capability::Client(kj::StringPtr service, schema::Peer::Reader)> open;
};

// Of one that `peer` is. `owner` keeps the parts alive.
schema::ManagerPeer::Client newManagerPeer(kj::Own<kj::Refcounted> owner, PeerParts& parts,
                                           schema::Peer::Reader peer);

}  // namespace orch::control::manager
