// Another authority in the place of the cluster's, while all runs. The state says which one it is,
// with its key, encrypted with that of the one before. Every node gets a certificate of it and
// trusts both meanwhile; when the last one has, the one before is trusted no more. As all of it is
// in the state, whoever leads goes on with it. Pure.
#pragma once

#include <string>

#include "member/authority.h"
#include "member/external-signer.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/trust/certificate.h"
#include "state/view.h"

namespace orch::control::manager {

// At most so many are remembered that were replaced: an admin, or a node that was away, may have a
// certificate of any of them.
constexpr uint32_t MOST_FORMER = 4;

// What a node that manages, or does not, trusts.
trust::Trusted trustedBy(schema::Cluster::Reader cluster, bool manages);
// Whether some node may have a certificate of an authority of before.
bool isRotating(schema::Cluster::Reader cluster);
// Whether that is, or was, the cluster's authority.
bool wasAuthorityOf(schema::Cluster::Reader cluster, const std::string& digest);
// The cluster's authority, for whoever has one that it took the place of, in however many steps.
kj::Maybe<Authority> latestAfter(const Authority& own, schema::Cluster::Reader cluster);

struct Successor {
  std::string of;  // the digest of the one before
  std::string certificate;
  std::string crossed;
  kj::Array<kj::byte> sealed;
  kj::Maybe<SigningPlace> place;  // where it has its key; nothing: in `sealed`
};
// In a request's decision. Tokens of before are refused from now on.
void replaceAuthority(View& view, const Successor& next);
// The node has a certificate of that one. The last one ends the rotation.
void noteAuthority(View& view, const std::string& nodeId, const std::string& digest);
// Nobody has joined the cluster, and it is not locked.
void forgetAuthority(View& view);
// If there is nobody to wait for any more, as when a node was removed.
void endRotationIfDone(View& view);
// The state has the keys of authorities that took the place of others, for managers that have not
// asked for them yet, and needs them no more once all managers have the last one.
bool hasSealedKeys(schema::Cluster::Reader cluster);
void forgetSealedKeys(View& view);

void describeRotation(const State& state, schema::Rotation::Builder rotation);

}  // namespace orch::control::manager
