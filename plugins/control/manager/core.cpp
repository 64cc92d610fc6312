#include "core.h"

#include <kj/debug.h>

#include "orch/fail.h"
#include "serve/worker-server.h"

namespace orch::control::manager {

Core::Core(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      settings(settings),
      manager(env, host, settings),
      members(*this, env, host, manager),
      admins(*this, host, manager, members),
      logins(env, host),
      sessions(*this, env, host, manager, members, logins, settings),
      progress(env, manager),
      logs(env, manager, sessions),
      volumes(env, manager, sessions),
      networkCheck(env, manager, sessions),
      journal(env, host, manager, settings),
      programs(*this, env, host, manager, sessions) {
  if (settings.getStore().size() == 0) fail(kj::str("store must name a service, as store.local"));
  if (!settings.getScheduler().startsWith("scheduler.")) {
    fail(kj::str("scheduler must name a service, as scheduler.spread, not '",
                 settings.getScheduler(), "'"));
  }
  if (settings.getDownAfterMs() <= settings.getHeartbeatMs()) {
    fail(kj::str("downAfterMs must be more than heartbeatMs, ", settings.getHeartbeatMs(), ", not ",
                 settings.getDownAfterMs()));
  }
  sessions.observeGone(progress);
}

Task<Services> Core::start() {
  Services services;
  co_await members.start();
  if (members.isWorker()) {
    services.add("cluster", newWorkerServer(kj::addRef(*this), host, members));
    members.begin();
    co_return kj::mv(services);
  }
  co_await logins.start();
  co_await manager.start();
  if (settings.getAutoInit()) co_await createCluster();
  ClusterParts parts{env,  host,    manager,      members, logins,   sessions, progress,
                     logs, volumes, networkCheck, journal, programs, settings};
  services.add("cluster", newClusterServer(kj::addRef(*this), parts));
  services.add("dispatcher", sessions.dispatcher(),
               newPeerService([this](auto peer) { return openDispatcher(peer); }));
  members.begin();
  services.addForPeers("join", members.joining());
  services.addForPeers("renewal", newPeerService([this](auto peer) {
                         bool admin = peer.getRole() == schema::Role::ADMIN;
                         return admin ? admins.renewing(peer) : members.renewing(peer);
                       }));
  services.addForPeers("admin", admins.admission());
  co_return kj::mv(services);
}

capnp::Capability::Client Core::openDispatcher(schema::Peer::Reader peer) {
  bool node = peer.getRole() == schema::Role::WORKER || peer.getRole() == schema::Role::MANAGER;
  if (!node) fail(kj::str("only nodes of the cluster have sessions"));
  return sessions.dispatcherFor(peer.getId().cStr());
}

Task<void> Core::createCluster() {
  if (!manager.state().all(Kind::CLUSTER).empty()) co_return;
  auto requestId = env.newId();
  Decide decide = [id = kj::str(requestId)](View& view) {
    bool created = false;
    initCluster(view, id, "", created);
  };
  co_await manager.submit(kj::mv(decide), requestId);
}

Task<void> Core::stop() {
  members.stop();
  sessions.stop();
  co_await manager.stop();
  co_await journal.flush();
}

}  // namespace orch::control::manager
