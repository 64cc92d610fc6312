// Certificates of the cluster's authority, whether this manager has its key or others do; and those
// authorities.
#include <kj/debug.h>

#include "decide/slot-rules.h"
#include "member/given-authority.h"
#include "member/membership.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

// Of one that has an external authority.
SigningPlace signingPlaceOf(schema::Cluster::Reader cluster) {
  return SigningPlace::of(cluster.getExternalAuthority());
}

}  // namespace

schema::Cluster::Reader Membership::ownCluster() const {
  KJ_IF_MAYBE (cluster, clusterOf(manager.state())) {
    KJ_IF_MAYBE (own, authority) {
      if (own->certificate() == cluster->getAuthority().cStr()) return *cluster;
      fail(kj::str("this manager has not the key of the cluster's authority; its log says why"));
    }
  }
  fail(kj::str(NOBODY));
}

Task<std::string> Membership::certificateFor(kj::String request, schema::Role role, kj::String id) {
  auto cluster = ownCluster();
  auto signer = KJ_ASSERT_NONNULL(authority);
  if (!signer.isExternal()) {
    auto lifetimeNs = static_cast<int64_t>(cluster.getCertificateMs()) * NS_PER_MS;
    co_return signer.sign(request.cStr(), role, id.cStr(), env.nowNs(), lifetimeNs);
  }
  auto place = signingPlaceOf(cluster);
  auto made =
      co_await external.sign(kj::mv(place), signer.certificate(), request.cStr(), role, id.cStr());
  // Another one may have taken its place meanwhile.
  if (ownCluster().getAuthority() == signer.certificate().c_str()) co_return kj::mv(made);
  fail(kj::str("the cluster's authority is being replaced; ask again"));
}

Task<std::string> Membership::trialOf(Authority of, kj::Maybe<SigningPlace> place) {
  auto request = trust::newKeyRequest().request;
  constexpr auto ROLE = schema::Role::MANAGER;
  KJ_IF_MAYBE (at, place) {
    co_return co_await external.sign(*at, of.certificate(), kj::mv(request), ROLE, "trial");
  }
  co_return of.sign(request, ROLE, "trial", env.nowNs(), trust::BACKDATED_NS);
}

Task<Authority> Membership::externalAuthority(SigningPlace place, kj::Maybe<Authority> before,
                                              int64_t lifetimeNs) {
  auto certificate = place.vouchedBy;
  if (certificate.empty()) certificate = co_await external.certificateOf(place);
  auto nowNs = env.nowNs();
  KJ_IF_MAYBE (own, before) co_return own->nextExternal(certificate, nowNs, lifetimeNs);
  co_return Authority::external(certificate, nowNs, lifetimeNs);
}

Task<void> Membership::tryPlace(SigningPlace place, uint64_t certificateMs) {
  constexpr uint64_t USUAL_MS = 90ull * 24 * 3'600'000;
  auto lifetimeMs = certificateMs != 0 ? certificateMs : USUAL_MS;
  auto lifetimeNs = static_cast<int64_t>(lifetimeMs) * NS_PER_MS;
  auto made = co_await externalAuthority(place, nullptr, lifetimeNs);
  co_await trialOf(made, kj::mv(place));
}

Task<Authority> Membership::firstAuthority(SigningPlace place, int64_t lifetimeNs) {
  auto made = co_await externalAuthority(kj::mv(place), nullptr, lifetimeNs);
  co_await keep(made);
  co_return kj::mv(made);
}

Task<Authority> Membership::nextAuthority(Authority own, Wanted wanted, int64_t lifetimeNs) {
  KJ_IF_MAYBE (place, wanted.place) {
    if (own.isExternal()) {
      fail(
          kj::str("usage: an external authority cannot take the place of another one, as nobody "
                  "here has the key of either; 'orch ca --rotate' to one of the cluster's own "
                  "comes between"));
    }
    co_return co_await externalAuthority(*place, kj::mv(own), lifetimeNs);
  }
  bool given = !wanted.certificate.empty() || !wanted.key.empty();
  auto nowNs = env.nowNs();
  if (given) co_return own.next(wanted.certificate, wanted.key, nowNs, lifetimeNs);
  co_return own.next(nowNs);
}

Task<std::string> Membership::crossedBy(Authority own, Authority next) {
  if (!own.isExternal()) co_return own.crossed(next, env.nowNs());
  auto place = signingPlaceOf(ownCluster());
  co_return co_await external.cross(kj::mv(place), next.request());
}

Task<Successor> Membership::successorOf(Authority own, Wanted wanted, int64_t lifetimeNs) {
  auto place = wanted.place;
  auto next = co_await nextAuthority(own, kj::mv(wanted), lifetimeNs);
  auto crossed = co_await crossedBy(own, next);
  // If the one before has ended, that is no reason against the next.
  auto leaf = co_await trialOf(next, place);
  checkTaken(leaf, crossed, own.certificate(), 0);
  Successor successor{own.digest(), next.certificate(), kj::mv(crossed), own.seal(next),
                      kj::mv(place)};
  co_return kj::mv(successor);
}

}  // namespace orch::control::manager
