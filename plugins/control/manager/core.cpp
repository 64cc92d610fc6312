#include "core.h"

#include <kj/debug.h>

namespace orch::control::manager {

Core::Core(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      settings(settings),
      manager(env, host, settings),
      sessions(*this, env, host, manager, settings),
      progress(env, manager),
      logs(env, manager, sessions) {
  KJ_REQUIRE(settings.getStore().size() > 0, "store must name a service, as store.local");
  KJ_REQUIRE(settings.getScheduler().startsWith("scheduler."),
             "scheduler must name a service, as scheduler.spread", settings.getScheduler());
  KJ_REQUIRE(settings.getHeartbeatMs() >= 10, "heartbeatMs must be at least 10");
  KJ_REQUIRE(settings.getDownAfterMs() > settings.getHeartbeatMs(),
             "downAfterMs must be more than heartbeatMs");
  sessions.observeGone(progress);
}

Task<Services> Core::start() {
  co_await manager.start();
  if (settings.getAutoInit()) co_await createCluster();
  Services services;
  services.add("cluster",
               newClusterServer(kj::addRef(*this), ClusterParts{env, host, manager, sessions,
                                                                progress, logs, settings}));
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
