// Whose certificates count, and how another authority takes the place of the cluster's.
#include <kj/debug.h>

#include "decide/slot-rules.h"
#include "member/membership.h"
#include "member/rotation.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/service-requests.h"

namespace orch::control::manager {

namespace {
constexpr kj::StringPtr ROTATE = "rotateAuthority"_kj;
}

kj::Maybe<schema::Cluster::Reader> clusterOf(const State& state) {
  for (auto& entry : state.all(Kind::CLUSTER)) return entry.second.as<schema::Cluster>();
  return nullptr;
}

void Membership::requireAuthority() const {
  if (!member || authority == nullptr) fail(kj::str(NOBODY));
}

std::string Membership::authoritySecret() const {
  return KJ_REQUIRE_NONNULL(authority, NOBODY).encode();
}

kj::Maybe<std::string> Membership::authoritySecretOf(schema::Cluster::Reader cluster) const {
  KJ_IF_MAYBE (own, authority) {
    KJ_IF_MAYBE (latest, latestAfter(*own, cluster)) return latest->encode();
  }
  return nullptr;
}

bool Membership::hasAuthority(kj::StringPtr named) const {
  KJ_IF_MAYBE (own, authority) return named.size() == 0 || named == own->digest().c_str();
  return false;
}

Task<void> Membership::takeAuthority(std::string secret, std::string named) {
  auto fresh = Authority::decode(secret);
  if (fresh.digest() != (named.empty() ? digest : named)) {
    fail(kj::str("the leader has the authority of another cluster than this node's"));
  }
  auto alone = co_await following.enter();
  co_await keep(fresh);
}

Task<void> Membership::followAuthority() {
  auto alone = co_await following.enter();
  auto cluster = clusterOf(manager.state());
  if (cluster == nullptr || authority == nullptr) co_return;
  auto certificate = KJ_ASSERT_NONNULL(cluster).getAuthority();
  if (certificate.size() == 0 || hasAuthority(trust::digestOf(certificate.cStr()).c_str())) {
    co_return;
  }
  auto latest = latestAfter(KJ_ASSERT_NONNULL(authority), KJ_ASSERT_NONNULL(cluster));
  KJ_IF_MAYBE (fresh, latest) {
    co_await keep(*fresh);
    unknownTold = false;
    host.log().info("the cluster's authority has been replaced",
                    {{"digest", fresh->digest().c_str()}});
  } else if (!std::exchange(unknownTold, true)) {
    host.log().error("trust.authority-unknown",
                     {{"reason",
                       "the cluster's authority is another one than this manager has the "
                       "key of; it can sign nothing"}});
  }
}

Task<void> Membership::forgetCluster() {
  auto cluster = clusterOf(manager.state());
  if (member || cluster == nullptr) co_return;
  auto certificate = KJ_ASSERT_NONNULL(cluster).getAuthority();
  if (certificate.size() == 0) co_return;
  if (hasAuthority() && hasAuthority(trust::digestOf(certificate.cStr()).c_str())) co_return;
  co_await manager.submit([](View& view) { manager::forgetAuthority(view); });
}

// In docker's words, `docker swarm update --external-ca`.
Task<void> Membership::signThere(kj::String requestId, SigningPlace place,
                                 std::string certificate) {
  co_await followAuthority();
  requireAuthority();
  View current(manager.state(), env.nowNs(), Seed{});
  if (!earlier(current, requestId, ROTATE).empty()) co_return;
  auto own = KJ_ASSERT_NONNULL(authority);
  if (!own.isExternal()) {
    fail(
        kj::str("usage: the managers have the key of this cluster's authority themselves; 'orch ca "
                "--rotate --external-ca …' puts one in its place whose key others have"));
  }
  if (!hasAuthority(trust::digestOf(certificate).c_str())) {
    fail(kj::str("the authority has been replaced meanwhile; ask again"));
  }
  auto signs = place.vouchedBy;
  if (signs.empty()) signs = co_await external.certificateOf(place);
  auto named = attemptNow([&] { return trust::digestOf(signs); });
  if (!named.ok() || named.value() != own.digest()) {
    fail(kj::str("usage: the external authority at '", place.url.c_str(),
                 "' is another one than the cluster's; 'orch ca --rotate' puts another one in its "
                 "place"));
  }
  co_await trialOf(own, place);
  Decide decide = [place = kj::mv(place), own, id = kj::str(requestId)](View& view) {
    if (!earlier(view, id, ROTATE).empty()) return;
    auto cluster = KJ_REQUIRE_NONNULL(view.cluster(), NOBODY);
    if (cluster.getAuthority() != own.certificate().c_str()) {
      fail(kj::str("the authority has been replaced meanwhile; ask again"));
    }
    auto clusterId = text(cluster.getMeta().getId());
    view.edit<schema::Cluster>(Kind::CLUSTER, clusterId, [&](schema::Cluster::Builder changed) {
      place.fill(changed.initExternalAuthority());
    });
    remember(view, id, ROTATE, clusterId);
  };
  co_await manager.submit(kj::mv(decide), requestId);
}

Task<void> Membership::rotate(kj::String requestId, Wanted wanted) {
  if (wanted.place != nullptr && !wanted.certificate.empty()) {
    auto place = kj::mv(KJ_ASSERT_NONNULL(wanted.place));
    co_await signThere(kj::mv(requestId), kj::mv(place), kj::mv(wanted.certificate));
    co_return;
  }
  auto certificateMs = wanted.certificateMs;
  auto changed = [certificateMs](capnp::MessageBuilder& message) {
    auto change = message.initRoot<schema::ClusterChange>();
    change.setCertificateMs(certificateMs);
    return change.asReader();
  };
  capnp::MallocMessageBuilder trial;
  checkChange(changed(trial));
  co_await followAuthority();
  requireAuthority();
  View current(manager.state(), env.nowNs(), Seed{});
  if (!earlier(current, requestId, ROTATE).empty()) co_return;
  auto own = KJ_ASSERT_NONNULL(authority);
  auto cluster = KJ_REQUIRE_NONNULL(clusterOf(manager.state()), NOBODY);
  auto lifetimeMs = certificateMs != 0 ? certificateMs : cluster.getCertificateMs();
  auto successor = co_await successorOf(own, kj::mv(wanted), lifetimeMs * NS_PER_MS);
  Decide decide = [successor = kj::mv(successor), id = kj::str(requestId), certificateMs,
                   changed](View& view) {
    if (!earlier(view, id, ROTATE).empty()) return;
    replaceAuthority(view, successor);  // or refuses
    capnp::MallocMessageBuilder message;
    if (certificateMs != 0) updateCluster(view, changed(message));
    remember(view, id, ROTATE, text(KJ_ASSERT_NONNULL(view.cluster()).getMeta().getId()));
  };
  co_await manager.submit(kj::mv(decide), requestId);
  co_await followAuthority();
}

bool Membership::isOf(schema::Cluster::Reader cluster) const {
  if (cluster.getAuthority().size() == 0) return digest.empty();
  return !digest.empty() && wasAuthorityOf(cluster, digest);
}

// This node has renewed its certificate.
void Membership::noteTrusted(std::string cluster) {
  if (cluster == digest) return;
  digest = kj::mv(cluster);
  announce();
  host.publish("authority.changed", host.node().id, {{"digest", digest.c_str()}});
}

// What a node says that it has is what counts: an answer may be lost on its way to it.
Task<void> Membership::awaitRole(AwaitRole context, std::string nodeId) {
  auto params = context.getParams();
  RoleWatch::Held held{params.getCurrent(), params.getAuthority().cStr(),
                       params.getTrusted().cStr()};
  auto cluster = clusterOf(manager.state());
  auto node = manager.state().find(Kind::NODE, nodeId);
  KJ_IF_MAYBE (there, cluster) {
    bool news = isRotating(*there) && node != nullptr &&
                node->as<schema::Node>().getAuthority() != held.authority.c_str();
    if (news && trust::digestOf(there->getAuthority().cStr()) == held.authority) {
      Decide decide = [nodeId, digest = held.authority](View& view) {
        noteAuthority(view, nodeId, digest);
      };
      co_await manager.submit(kj::mv(decide));
    }
  }
  auto role = co_await roles.changed(kj::mv(nodeId), kj::mv(held));
  context.getResults().setRole(role);
}

trust::Trusted Membership::trusted(schema::Role role) const {
  auto cluster = clusterOf(manager.state());
  return trustedBy(KJ_REQUIRE_NONNULL(cluster, NOBODY), role == schema::Role::MANAGER);
}

Task<std::string> Membership::renewed(kj::String request, schema::Role role, kj::String id) {
  auto who = kj::str(role, " ", id);
  if (!renewals.allow(who.cStr(), env.nowNs() / NS_PER_MS)) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "it asks for too many certificates"));
  }
  co_await followAuthority();
  co_return co_await certificateFor(kj::mv(request), role, kj::mv(id));
}

}  // namespace orch::control::manager
