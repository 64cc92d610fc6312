#include "lead/manager-peer.h"

#include "lead/front.h"
#include "orch/fail.h"
#include "orch/trust/lock-box.h"

namespace orch::control::manager {

namespace {

class ManagerPeer final : public schema::ManagerPeer::Server {
 public:
  ManagerPeer(kj::Own<kj::Refcounted> owner, PeerParts& parts, std::string nodeId)
      : owner(kj::mv(owner)), parts(parts), nodeId(kj::mv(nodeId)) {}

  kj::Promise<void> beat(BeatContext context) override { return doBeat(context); }
  kj::Promise<void> cluster(ClusterContext context) override {
    requireManager();
    if (served == nullptr) {
      served = newConfirmedCluster(kj::addRef(*owner), parts.leadership, parts.clusterFor(nodeId));
    }
    context.getResults().setCluster(KJ_ASSERT_NONNULL(served));
    return kj::READY_NOW;
  }
  kj::Promise<void> dispatcher(DispatcherContext context) override {
    parts.leadership.requireLead();
    context.getResults().setDispatcher(parts.sessions.dispatcherFor(nodeId, schema::Role::MANAGER));
    return kj::READY_NOW;
  }
  kj::Promise<void> authority(AuthorityContext context) override {
    requireManager();
    context.getResults().setSecret(parts.members.authoritySecret().c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> store(StoreContext context) override {
    requireManager();
    context.getResults().setName(parts.leadership.storeName());
    return kj::READY_NOW;
  }
  kj::Promise<void> status(StatusContext context) override {
    requireManager();
    return parts.status.describe(context.getResults().initStatus());
  }
  kj::Promise<void> storeServer(StoreServerContext context) override {
    requireManager();
    return doStoreServer(context);
  }
  kj::Promise<void> storeServers(StoreServersContext context) override {
    requireManager();
    return doStoreServers(context);
  }
  kj::Promise<void> lockKey(LockKeyContext context) override {
    requireManager();
    auto key = parts.members.lockKey();
    // Whoever asks was told its name.
    if (trust::nameOfKey(key) != parts.members.lockName()) fail(kj::str("it is being changed"));
    context.getResults().setKey(
        kj::arrayPtr(reinterpret_cast<const kj::byte*>(key.data()), key.size()));
    return kj::READY_NOW;
  }
  kj::Promise<void> open(OpenContext context) override {
    parts.leadership.requireLead();
    auto params = context.getParams();
    if (!isOwnRenewal(params)) requireManager();
    context.getResults().setService(parts.open(params.getService(), params.getPeer()));
    return kj::READY_NOW;
  }

 private:
  // Also by what the cluster has decided meanwhile: one that was demoted has its own session, and
  // the certificate of a worker when it asks.
  void requireManager() const {
    parts.leadership.requireLead();
    auto node = parts.manager.state().find(Kind::NODE, nodeId);
    if (node != nullptr && node->as<schema::Node>().getManages()) return;
    fail(kj::str("this node is no manager of the cluster any more"));
  }
  // One that was demoted has its own certificate signed, and nobody else's.
  bool isOwnRenewal(schema::ManagerPeer::OpenParams::Reader params) const {
    using schema::Role;
    auto peer = params.getPeer();
    bool node = peer.getRole() == Role::WORKER || peer.getRole() == Role::MANAGER;
    return params.getService() == "renewal" && node && peer.getId() == nodeId.c_str();
  }
  Task<void> doStoreServer(StoreServerContext context) {
    auto inviting = parts.leadership.inviteServer(nodeId, context.getParams().getAddress().cStr());
    auto invitation = co_await kj::mv(inviting);
    context.getResults().setInvitation(invitation);
  }
  Task<void> doStoreServers(StoreServersContext context) {
    auto name = co_await parts.leadership.serversName();
    context.getResults().setOf(name.c_str());
  }
  Task<void> doBeat(BeatContext context) {
    context.allowCancellation();
    parts.leadership.requireLead();
    parts.leadership.noteBeat(nodeId, context.getParams());
    co_await parts.env.timer().afterDelay(Leadership::BEAT);
    parts.leadership.requireLead();
    auto results = context.getResults();
    results.setEpoch(parts.manager.epoch());
    results.setRevision(parts.manager.state().revision);
    results.setStore(parts.leadership.storeName());
    if (parts.members.hasAuthority()) {
      results.setAuthority(parts.members.authorityDigest().c_str());
    }
    // The leader's own lock is of that key, or will be.
    results.setLock(parts.members.lockName().c_str());
    auto addresses = parts.members.managerAddresses();
    auto list = results.initManagers(addresses.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, addresses[i].c_str());
  }

  kj::Own<kj::Refcounted> owner;
  PeerParts& parts;
  const std::string nodeId;
  kj::Maybe<schema::ClusterControl::Client> served;  // one, since it remembers what it has planned
};

}  // namespace

schema::ManagerPeer::Client newManagerPeer(kj::Own<kj::Refcounted> owner, PeerParts& parts,
                                           schema::Peer::Reader peer) {
  if (peer.getRole() != schema::Role::MANAGER) fail(kj::str("this is for managers"));
  parts.leadership.requireLead();
  return kj::heap<ManagerPeer>(kj::mv(owner), parts, peer.getId().cStr());
}

}  // namespace orch::control::manager
