// A strategy as a plugin: tables on one ranking.
#pragma once

#include "lib/placement-table.h"
#include "orch/plugin.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::scheduler {

// Opens copies of the table.
schema::Scheduler::Client newScheduler(PlacementTable empty);

// `Config` has the setting `failureLimit`.
template <const Ranking& RANKING, typename Config>
class StrategyPlugin final : public PluginInstance {
 public:
  StrategyPlugin(Env&, Host& host, typename Config::Reader settings)
      : host(host), failureLimit(settings.getFailureLimit()) {}
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, newScheduler(PlacementTable::of<RANKING>(failureLimit)));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  uint32_t failureLimit;
};

}  // namespace orch::scheduler
