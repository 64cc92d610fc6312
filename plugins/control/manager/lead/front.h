// What a manager has for its own node and for others, whether it leads or follows: a follower hands
// on what it is asked.
#pragma once

#include "lead/backups.h"
#include "lead/leadership.h"
#include "lead/status.h"

namespace orch::control::manager {

// Hands each call to what `choose` finds for it.
using Choose = kj::Function<Task<capnp::Capability::Client>()>;
capnp::Capability::Client newForwarder(kj::Own<kj::Refcounted> owner, Choose choose);

struct FrontParts {
  Leadership& leadership;
  Membership& members;
  StatusQueries& status;
  Backups& backups;
};
// What the leader has for all: `local`, except that what that refuses is refused only if this
// manager still leads.
schema::ClusterControl::Client newLeaderCluster(kj::Own<kj::Refcounted> owner,
                                                Leadership& leadership,
                                                schema::ClusterControl::Client local);
// The service `cluster`. `local`: of the leader. What is about this host alone is answered here,
// and what can be read from this manager's copy of the state while nobody leads.
schema::ClusterControl::Client newClusterFront(kj::Own<kj::Refcounted> owner, FrontParts parts,
                                               schema::ClusterControl::Client local);
// The same of the leader, for other managers: what it reads there is of now.
schema::ClusterControl::Client newConfirmedCluster(kj::Own<kj::Refcounted> owner,
                                                   Leadership& leadership,
                                                   schema::ClusterControl::Client local);
// The service `dispatcher`, for the agent of this node.
schema::Dispatcher::Client newDispatcherFront(kj::Own<kj::Refcounted> owner, Leadership& leadership,
                                              schema::Dispatcher::Client local);
// A peer service of the leader, for those who are connected here.
schema::PeerService::Client newPeerFront(kj::Own<kj::Refcounted> owner, Leadership& leadership,
                                         kj::StringPtr name, schema::PeerService::Client local);

}  // namespace orch::control::manager
