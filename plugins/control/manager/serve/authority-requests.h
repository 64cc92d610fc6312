// What users ask of the cluster's authority.
#pragma once

#include "serve/cluster-server.h"

namespace orch::control::manager {

using AuthorityAsked = capnp::CallContext<schema::ClusterControl::AuthorityParams,
                                          schema::ClusterControl::AuthorityResults>;
using RotationAsked = capnp::CallContext<schema::ClusterControl::RotateAuthorityParams,
                                         schema::ClusterControl::RotateAuthorityResults>;

using UnlockKeyAsked = capnp::CallContext<schema::ClusterControl::UnlockKeyParams,
                                          schema::ClusterControl::UnlockKeyResults>;
using ChangeAsked = capnp::CallContext<schema::ClusterControl::UpdateClusterParams,
                                       schema::ClusterControl::UpdateClusterResults>;

// Once there is news.
Task<void> answerAuthority(ClusterParts& parts, AuthorityAsked context);
Task<void> rotate(ClusterParts& parts, RotationAsked context);
// What holds for the whole cluster.
Task<void> changeCluster(ClusterParts& parts, ChangeAsked context);
Task<void> answerUnlockKey(ClusterParts& parts, UnlockKeyAsked context);
// The key that managers that start again wait for from now on, as its user knows it.
Task<std::string> lockManagers(ClusterParts& parts, kj::String requestId);
// Before a cluster is made: fails, with what to do, if there would be nothing to lock, as others
// cannot reach this host, or if the external authority that is asked for would not be of use, or
// cannot be the cluster's any more. Answers where that one signs.
Task<kj::Maybe<SigningPlace>> checkInit(ClusterParts& parts,
                                        schema::ClusterControl::InitParams::Reader params);
// This host, which leads, becomes a cluster of its own.
Task<void> leaveAlone(ClusterParts& parts, bool force);
// What an admin has to know beside its certificate.
void fillAdded(const Membership& members, schema::ClusterControl::AddAdminResults::Builder results);

}  // namespace orch::control::manager
