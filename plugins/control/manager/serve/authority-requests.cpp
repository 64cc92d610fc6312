#include "serve/authority-requests.h"

#include "member/rotation.h"
#include "orch/fail.h"
#include "orch/trust/lock-box.h"
#include "serve/cluster-queries.h"

namespace orch::control::manager {

namespace {
std::string certificateOf(const Membership& members) {
  return trust::firstIn(members.trusted(schema::Role::WORKER).authorities);
}
}  // namespace

Task<void> answerAuthority(ClusterParts& parts, AuthorityAsked context) {
  context.allowCancellation();
  parts.members.requireAuthority();
  auto params = context.getParams();
  auto& of = ProgressTable::AUTHORITY;
  co_await parts.progress.changedSince(of, params.getAfter(), params.getTimeoutMs());
  auto results = context.getResults();
  results.setRevision(parts.progress.revisionOf(of));
  results.setCertificate(certificateOf(parts.members).c_str());
  describeRotation(parts.manager.state(), results.initRotation());
}

Task<void> rotate(ClusterParts& parts, RotationAsked context) {
  auto params = context.getParams();
  Membership::Wanted wanted{params.getCertificate().cStr(), params.getKey().cStr(),
                            params.getCertificateMs(), nullptr};
  if (params.hasExternalAuthority()) wanted.place = SigningPlace::of(params.getExternalAuthority());
  co_await parts.members.rotate(kj::str(params.getRequestId()), kj::mv(wanted));
  context.getResults().setCertificate(certificateOf(parts.members).c_str());
}

Task<void> changeCluster(ClusterParts& parts, ChangeAsked context) {
  auto requestId = kj::str(context.getParams().getRequestId());
  auto lock = context.getParams().getChange().getAutolock();
  if (lock.isSet()) parts.members.requireAuthority();
  Decide decide = [context](View& view) mutable {
    updateCluster(view, context.getParams().getChange());
  };
  co_await parts.manager.submit(kj::mv(decide), requestId);
  auto results = context.getResults();
  if (lock.isSet()) {
    auto wanted = lock.getSet() ? Membership::Lock::ON : Membership::Lock::OFF;
    co_await parts.members.changeLock(kj::mv(requestId), wanted);
    results.setUnlockKey(trust::unlockKeyText(parts.members.lockKey()).c_str());
  }
  auto& state = parts.manager.state();
  for (auto& [id, object] : state.all(Kind::CLUSTER)) {
    results.setCluster(object.as<schema::Cluster>());
    complete(state, object, results.getCluster());
  }
}

Task<void> answerUnlockKey(ClusterParts& parts, UnlockKeyAsked context) {
  auto params = context.getParams();
  parts.members.requireAuthority();
  if (params.getRotate()) {
    co_await parts.members.changeLock(kj::str(params.getRequestId()), Membership::Lock::FRESH);
  }
  context.getResults().setKey(trust::unlockKeyText(parts.members.lockKey()).c_str());
}

Task<std::string> lockManagers(ClusterParts& parts, kj::String requestId) {
  co_await parts.members.changeLock(kj::mv(requestId), Membership::Lock::ON);
  co_return trust::unlockKeyText(parts.members.lockKey());
}

namespace {
Task<void> checkReached(ClusterParts& parts, kj::String address, kj::StringPtr flag) {
  if (parts.members.isMember()) co_return;
  auto found = co_await parts.members.addressFor(kj::mv(address));
  if (found.size() > 0) co_return;
  fail(kj::str("usage: ", flag,
               " is for managers that others reach, and this host has no address for that; name "
               "one with --advertise-addr"));
}
}  // namespace

Task<kj::Maybe<SigningPlace>> checkInit(ClusterParts& parts,
                                        schema::ClusterControl::InitParams::Reader params) {
  if (params.getAutolock()) {
    co_await checkReached(parts, kj::str(params.getAddress()), "--autolock");
  }
  kj::Maybe<SigningPlace> place;
  if (!params.hasExternalAuthority()) co_return kj::mv(place);
  auto named = SigningPlace::of(params.getExternalAuthority());
  co_await checkReached(parts, kj::str(params.getAddress()), "--external-ca");
  auto cluster = clusterOf(parts.manager.state());
  bool has = false, same = false;
  KJ_IF_MAYBE (there, cluster) {
    has = there->getAuthority().size() > 0;
    same = there->getExternalAuthority().getUrl() == named.url.c_str();
  }
  if (has && !same) {
    fail(
        kj::str("usage: the cluster has an authority already; 'orch ca --rotate --external-ca …' "
                "puts another one in its place"));
  }
  if (!has) co_await parts.members.tryPlace(named, params.getCertificateMs());
  place = kj::mv(named);
  co_return kj::mv(place);
}

// What only the authority's key opens is lost with that.
Task<void> leaveAlone(ClusterParts& parts, bool force) {
  bool member = parts.members.isMember();
  if (member && !force) {
    fail(kj::str(
        "this node is the only manager: the cluster's other nodes could not be told anything any "
        "more; with --force this host becomes a cluster of its own, with the services"));
  }
  if (member && !parts.members.isShared()) co_await parts.logins.resealAlone();
  co_await parts.members.leave();
}

void fillAdded(const Membership& members,
               schema::ClusterControl::AddAdminResults::Builder results) {
  results.setAuthority(members.trusted(schema::Role::ADMIN).authorities.c_str());
  auto addresses = members.managerAddresses();
  auto list = results.initManagers(addresses.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, addresses[i].c_str());
}

}  // namespace orch::control::manager
