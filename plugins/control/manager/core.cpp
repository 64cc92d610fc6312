#include "core.h"

#include <kj/debug.h>

#include "orch/fail.h"

namespace orch::control::manager {

Core::Core(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      settings(settings),
      manager(env, host, settings),
      sessions(*this, env, host, manager, settings),
      progress(env, manager),
      logs(env, manager, sessions),
      volumes(env, manager, sessions) {
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
  co_await manager.start();
  if (settings.getAutoInit()) co_await createCluster();
  Services services;
  services.add("cluster", newClusterServer(kj::addRef(*this),
                                           ClusterParts{env, host, manager, sessions, progress,
                                                        logs, volumes, settings}));
  services.add("dispatcher", sessions.dispatcher());
  co_return kj::mv(services);
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
  sessions.stop();
  co_await manager.stop();
}

}  // namespace orch::control::manager
