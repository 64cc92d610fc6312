#include "core.h"

#include <kj/debug.h>

#include "lead/front.h"
#include "member/contact.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/worker-server.h"

namespace orch::control::manager {

Core::Core(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      settings(settings),
      manager(env, host, settings),
      members(*this, env, host, manager),
      leadership(env, host, manager, members, settings,
                 [this](auto& former) -> kj::Promise<void> { return beginLead(former); }),
      admins(*this, host, manager, members),
      logins(env, host, manager, members),
      clusterFeed(*this, env, manager),
      sessions(*this, env, host, manager, members, logins, clusterFeed, settings),
      progress(env, manager),
      logs(env, manager, sessions),
      volumes(env, manager, sessions),
      networkCheck(env, manager, sessions),
      journal(env, host, manager, settings),
      programs(*this, env, host, manager, sessions),
      usage(env, manager, sessions),
      status(env, host, manager, leadership, members),
      backups(*this, env, host, manager, leadership, members, logins),
      peers{env,
            manager,
            leadership,
            members,
            sessions,
            status,
            [this](std::string nodeId) { return clusterFor(kj::mv(nodeId)); },
            [this](kj::StringPtr service, schema::Peer::Reader peer) {
              return openForPeer(service, peer);
            }} {
  checkSettings();
  members.shareStateBy([this]() -> kj::Promise<void> { return leadership.share({}); });
  members.whenOpened([this]() -> kj::Promise<void> { return logins.reseal(); });
  members.whenLeaving([this]() -> kj::Promise<void> { return leadership.leaveCluster(); });
  sessions.observeGone(progress);
}

void Core::checkSettings() const {
  if (settings.getStore().size() == 0) fail(kj::str("store must name a service, as store.local"));
  if (!settings.getScheduler().startsWith("scheduler.")) {
    fail(kj::str("scheduler must name a service, as scheduler.spread, not '",
                 settings.getScheduler(), "'"));
  }
  if (settings.getDownAfterMs() <= settings.getHeartbeatMs()) {
    fail(kj::str("downAfterMs must be more than heartbeatMs, ", settings.getHeartbeatMs(), ", not ",
                 settings.getDownAfterMs()));
  }
}

Task<Services> Core::start() {
  Services services;
  co_await members.start();
  if (members.isWorker()) {
    services.add("cluster",
                 newWorkerServer(kj::addRef(*this), {env, host, members, settings.getAgent()}));
    services.add("cluster-tasks", newWorkerFeed(kj::addRef(*this), {env, host, members, {}}));
    services.addForPeers("contact", newPeerService([this](auto peer) {
                           return newContact(kj::addRef(*this), this->host, peer);
                         }));
    members.begin();
    co_return kj::mv(services);
  }
  if (members.isLocked()) {
    leadership.waitForKey();
    waiting = startLater().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      this->host.log().error("manager.cannot-start, see what it says and start orchd again",
                             {{"reason", plainText(e)}});
    });
  } else {
    co_await logins.start();
    co_await leadership.start();
  }
  std::string self = host.node().id.cStr();
  FrontParts front{leadership, members, status, backups};
  services.add("cluster", newClusterFront(kj::addRef(*this), front, clusterFor(kj::mv(self))));
  services.add("dispatcher",
               newDispatcherFront(kj::addRef(*this), leadership, sessions.dispatcher()),
               newPeerService([this](auto peer) { return openDispatcher(peer); }));
  services.addForPeers("manager", newPeerService([this](auto peer) {
                         return newManagerPeer(kj::addRef(*this), peers, peer);
                       }));
  Choose renewal = [this]() { return ownRenewal(); };
  services.add("renewal", newForwarder(kj::addRef(*this), kj::mv(renewal)), frontOf("renewal"));
  Choose tasks = [this]() { return clusterTasks(); };
  services.add("cluster-tasks", newForwarder(kj::addRef(*this), kj::mv(tasks)));
  services.addForPeers("join", frontOf("join"));
  services.addForPeers("admin", frontOf("admin"));
  if (!members.isLocked()) members.begin();
  co_return kj::mv(services);
}

Task<void> Core::startLater() {
  co_await members.unlocked();
  co_await logins.start();
  co_await leadership.start();
  members.begin();
}

schema::ClusterControl::Client Core::clusterFor(std::string nodeId) {
  ClusterParts parts{env,      host,     manager,  members,       leadership,   logins,
                     sessions, progress, logs,     volumes,       networkCheck, journal,
                     programs, usage,    settings, kj::mv(nodeId)};
  return newLeaderCluster(kj::addRef(*this), leadership,
                          newClusterServer(kj::addRef(*this), kj::mv(parts)));
}

schema::PeerService::Client Core::frontOf(kj::StringPtr service) {
  auto open = [this, service](schema::Peer::Reader peer) { return openForPeer(service, peer); };
  return newPeerFront(kj::addRef(*this), leadership, service, newPeerService(kj::mv(open)));
}

capnp::Capability::Client Core::openForPeer(kj::StringPtr service, schema::Peer::Reader peer) {
  if (service == "join") return members.joining(peer);
  if (service == "admin") return admins.admission(peer);
  if (service == "cluster-tasks") {
    KJ_REQUIRE(peer.getRole() == schema::Role::MANAGER, "this is for managers");
    return clusterFeed.client();
  }
  KJ_REQUIRE(service == "renewal", "managers do not open this for each other", service);
  bool admin = peer.getRole() == schema::Role::ADMIN;
  return admin ? admins.renewing(peer) : members.renewing(peer);
}

capnp::Capability::Client Core::askLeader(schema::ManagerPeer::Client leader,
                                          kj::StringPtr service) const {
  auto request = leader.openRequest();
  request.setService(service);
  fillSelf(request.initPeer());
  return request.send().getService();
}

// Of whoever leads.
Task<capnp::Capability::Client> Core::clusterTasks() {
  co_await leadership.settled();
  KJ_IF_MAYBE (leader, leadership.leader()) co_return askLeader(*leader, "cluster-tasks");
  leadership.requireLead();
  co_return clusterFeed.client();
}

// Of this node's certificate, by whoever leads.
Task<capnp::Capability::Client> Core::ownRenewal() {
  if (!leadership.isCutOff()) co_await leadership.settled();
  KJ_IF_MAYBE (leader, leadership.leader()) co_return askLeader(*leader, "renewal");
  capnp::MallocMessageBuilder message;
  auto self = message.initRoot<schema::Peer>();
  fillSelf(self);
  co_return members.renewing(self);
}

void Core::fillSelf(schema::Peer::Builder peer) const {
  peer.setRole(schema::Role::MANAGER);
  peer.setId(host.node().id);
}

capnp::Capability::Client Core::openDispatcher(schema::Peer::Reader peer) {
  leadership.requireLead();
  bool node = peer.getRole() == schema::Role::WORKER || peer.getRole() == schema::Role::MANAGER;
  if (!node) fail(kj::str("only nodes of the cluster have sessions"));
  return sessions.dispatcherFor(peer.getId().cStr(), peer.getRole());
}

Task<void> Core::beginLead(const kj::Maybe<Leadership::Former>& former) {
  KJ_IF_MAYBE (before, former) {
    auto silent = env.timer().now() - before->heardAt;
    sessions.expectFormerLeader(before->nodeId, silent, before->closed);
  }
  co_await members.followAuthority();
  co_await members.forgetCluster();
  co_await members.followStatesLock();
  co_await logins.reseal();
  co_await createCluster();
}

Task<void> Core::createCluster() {
  if (!settings.getAutoInit() || !manager.state().all(Kind::CLUSTER).empty()) co_return;
  auto requestId = env.newId();
  Decide decide = [id = kj::str(requestId)](View& view) {
    bool created = false;
    initCluster(view, id, "", created);
  };
  co_await manager.submit(kj::mv(decide), requestId);
}

Task<void> Core::stop() {
  waiting = kj::READY_NOW;
  members.stop();
  clusterFeed.stop();
  sessions.stop();
  co_await leadership.stop();
  co_await journal.flush();
}

}  // namespace orch::control::manager
