// Hosts that come with a token, and what becomes of those that do not wait for what they get.
#include <kj/debug.h>
#include <openssl/crypto.h>

#include "decide/slot-rules.h"
#include "member/membership.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr auto LOOK_FOR_ABSENT = 1 * kj::HOURS;
// A host starts again with its certificate at once, and its power may go in that moment.
constexpr int64_t COMES_WITHIN_NS = 24 * 3'600'000 * NS_PER_MS;

// Takes as long for a secret that is nearly right.
bool sameSecret(kj::StringPtr a, kj::StringPtr b) {
  return a.size() > 0 && a.size() == b.size() && CRYPTO_memcmp(a.begin(), b.begin(), a.size()) == 0;
}

kj::StringPtr saltOf(schema::Cluster::Reader cluster, schema::Role role) {
  return role == schema::Role::MANAGER ? cluster.getManagerSalt() : cluster.getWorkerSalt();
}

// It has never said what it is.
bool isNewcomer(schema::Node::Reader node) { return !node.hasDescription(); }

}  // namespace

// Who waits for a certificate, and for how long.
struct Membership::Joiner final : public kj::Refcounted {
  bool gone = false;
};

class Membership::JoinServer final : public schema::Join::Server {
 public:
  JoinServer(kj::Own<kj::Refcounted> owner, Membership& members, std::string from)
      : owner(kj::mv(owner)), members(members), from(kj::mv(from)) {}
  kj::Promise<void> join(JoinContext context) override {
    context.allowCancellation();
    return members.doJoin(context, from);
  }

 private:
  kj::Own<kj::Refcounted> owner;
  Membership& members;
  const std::string from;
};

capnp::Capability::Client Membership::joining(schema::Peer::Reader peer) {
  if (peer.getRole() != schema::Role::JOINER) fail(kj::str("this node has joined already"));
  return kj::heap<JoinServer>(kj::addRef(owner), *this, peer.getAddress().cStr());
}

kj::String Membership::token(schema::Role wanted) const {
  KJ_IF_MAYBE (cluster, clusterOf(manager.state())) {
    KJ_IF_MAYBE (signer, authority) {
      auto salt = saltOf(*cluster, wanted);
      if (member && salt.size() > 0) {
        return kj::str("ORCHTKN-1-", signer->digest().c_str(), "-",
                       signer->joinSecret(wanted, salt).c_str());
      }
    }
  }
  fail(kj::str(NOBODY));
}

void Membership::refused(const std::string& from, kj::StringPtr reason) {
  auto untold = refusals.admit(reason.cStr(), env.timer().now());
  if (!untold.has_value()) return;
  host.log().warn("join.refused",
                  {{"from", from.c_str()}, {"reason", reason}, {"moreLikeIt", kj::str(*untold)}});
}

schema::Role Membership::admitted(const std::string& secret, const std::string& from) {
  auto cluster = KJ_REQUIRE_NONNULL(clusterOf(manager.state()), NOBODY);
  auto& signer = KJ_REQUIRE_NONNULL(authority, NOBODY);
  auto opens = [&](schema::Role role) {
    auto salt = saltOf(cluster, role);
    auto right = salt.size() == 0 ? std::string() : signer.joinSecret(role, salt);
    return sameSecret(secret.c_str(), right.c_str());
  };
  bool worker = opens(schema::Role::WORKER), manages = opens(schema::Role::MANAGER);
  auto nowMs = env.nowNs() / NS_PER_MS;
  if (!worker && !manages) {
    if (!guesses.allow(from.substr(0, from.rfind(':')), nowMs)) {
      refused(from, "it tries tokens without end");
      kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many tokens were tried; try again"));
    }
    refused(from, "the secret of its token is not, or no longer, the cluster's");
    fail(
        kj::str("the token is not valid, or no longer: 'orch join-token worker' on a manager "
                "prints one that is"));
  }
  if (!joins.allow({}, nowMs)) {
    refused(from, "too many hosts are joining");
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many hosts are joining; try again"));
  }
  return manages ? schema::Role::MANAGER : schema::Role::WORKER;
}

Task<Membership::Joined> Membership::letIn(kj::Own<Joiner> joiner, std::string secret,
                                           std::string request, std::string from) {
  co_await followAuthority();
  auto role = admitted(secret, from);
  auto signer = KJ_ASSERT_NONNULL(authority);
  std::string salt = saltOf(KJ_ASSERT_NONNULL(clusterOf(manager.state())), role).cStr();
  bool manages = role == schema::Role::MANAGER;
  auto& sharing = KJ_REQUIRE_NONNULL(share);
  if (manages && !shared) co_await sharing();
  if (joiner->gone) fail(kj::str("the host has not waited"));
  Joined joined{env.newId().cStr(), role, ""};
  auto id = joined.nodeId;
  joined.certificate = co_await certificateFor(kj::str(request.c_str()), role, kj::str(id.c_str()));
  Decide decide = [joiner = kj::mv(joiner), id, manages, role, salt, signer](View& view) {
    if (joiner->gone) fail(kj::str("the host has not waited"));
    auto now = KJ_REQUIRE_NONNULL(view.cluster(), NOBODY);
    bool same =
        saltOf(now, role) == salt.c_str() && now.getAuthority() == signer.certificate().c_str();
    if (!same) fail(kj::str("the token, or the cluster's authority, is being replaced; ask again"));
    view.createAs<schema::Node>(Key{Kind::NODE, id}, [&](schema::Node::Builder node) {
      node.setManages(manages);
      node.setAuthority(signer.digest().c_str());
    });
  };
  co_await manager.submit(kj::mv(decide));
  host.log().info("a node has joined", {{"node", id.c_str()}});
  co_return kj::mv(joined);
}

// It goes on when the host has gone, as the state does on its way to where other managers reach
// it, which takes longer than a host waits. Then the node is one that nobody is.
Task<void> Membership::doJoin(NodeJoin context, std::string from) {
  auto params = context.getParams();
  auto joiner = kj::refcounted<Joiner>();
  auto letting = letIn(kj::addRef(*joiner), params.getSecret().cStr(), params.getRequest().cStr(),
                       kj::mv(from))
                     .promise()
                     .fork();
  bool answered = false;
  KJ_DEFER({
    joiner->gone = true;
    if (!answered) unanswered.add(takeBackUnanswered(letting.addBranch()));
  });
  auto joined = co_await letting.addBranch();
  auto results = context.getResults();
  results.setNodeId(joined.nodeId.c_str());
  results.setRole(joined.role);
  results.setCertificate(joined.certificate.c_str());
  fillTrusted(trusted(joined.role), results.initTrusted());
  auto addresses = managerAddresses();
  auto list = results.initManagers(addresses.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, addresses[i].c_str());
  answered = true;
}

Task<void> Membership::takeBackUnanswered(kj::Promise<Joined> letting) {
  auto joined = co_await attempt(kj::mv(letting));
  if (joined.ok()) co_await takeBack(kj::mv(joined.value().nodeId));
}

Task<void> Membership::takeBack(std::string nodeId) {
  Decide decide = [nodeId](View& view) {
    KJ_IF_MAYBE (node, view.node(nodeId)) {
      if (isNewcomer(*node)) removeNode(view, nodeId);
    }
  };
  auto taken = co_await attempt(manager.submit(kj::mv(decide)));
  if (taken.ok()) {
    if (manager.state().find(Kind::NODE, nodeId) != nullptr) co_return;
    host.log().info("a host that was to join has not come with its certificate: it is no node",
                    {{"node", nodeId.c_str()}});
  } else {
    host.log().warn("join.not-taken-back, tried again when it has not come within a day",
                    {{"node", nodeId.c_str()}, {"reason", taken.message()}});
  }
}

// An answer may be lost on its way, and a leader die before it gives one. Who has its certificate
// waits to hear what it is to be, from whoever leads, all the time.
Task<void> Membership::takeBackAbsent() {
  for (uint64_t before = 0;;) {
    co_await env.timer().afterDelay(LOOK_FOR_ABSENT);
    auto epoch = manager.leads() ? manager.epoch() : 0;
    bool knows = epoch != 0 && epoch == before;
    before = epoch;
    if (!knows) continue;
    std::vector<std::string> missing;
    for (auto& [id, object] : manager.state().all(Kind::NODE)) {
      auto node = object.as<schema::Node>();
      bool late = env.nowNs() - node.getMeta().getCreatedAtNs() > COMES_WITHIN_NS;
      bool there = id == manager.state().leader || roles.isAsked(id);
      if (isNewcomer(node) && late && !there) missing.push_back(id);
    }
    for (auto& id : missing) co_await takeBack(id);
  }
}

void Membership::taskFailed(kj::Exception&& exception) {
  host.log().error("join.not-taken-back", {{"reason", plainText(exception)}});
}

}  // namespace orch::control::manager
