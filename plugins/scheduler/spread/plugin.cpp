#include "orch/plugin.h"

#include "config.capnp.h"
#include "orch/schema/scheduler.capnp.h"
#include "spread.h"

namespace orch::scheduler::spread {
namespace {

class Table final : public schema::PlacementTable::Server {
 public:
  explicit Table(SpreadTable table) : table(kj::mv(table)) {}

  kj::Promise<void> apply(ApplyContext context) override {
    auto params = context.getParams();
    for (auto node : params.getChanged()) table.put(node);
    for (auto id : params.getGone()) table.erase(id.cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> fork(ForkContext context) override {
    context.getResults().setTable(kj::heap<Table>(table));
    return kj::READY_NOW;
  }
  kj::Promise<void> place(PlaceContext context) override {
    auto params = context.getParams();
    auto placed = table.place(params.getGroup(), params.getCount(), params.getSeed());
    auto results = context.getResults();
    auto nodes = results.initNodes(placed.size());
    for (uint32_t i = 0; i < placed.size(); ++i) nodes.set(i, placed[i].c_str());
    results.setUnplaced(params.getCount() - placed.size());
    return kj::READY_NOW;
  }

 private:
  SpreadTable table;
};

class Strategy final : public schema::Scheduler::Server {
 public:
  explicit Strategy(uint32_t failureLimit) : failureLimit(failureLimit) {}
  kj::Promise<void> open(OpenContext context) override {
    SpreadTable table(failureLimit);
    for (auto node : context.getParams().getNodes()) table.put(node);
    context.getResults().setTable(kj::heap<Table>(kj::mv(table)));
    return kj::READY_NOW;
  }

 private:
  uint32_t failureLimit;
};

class Spread final : public PluginInstance {
 public:
  Spread(Env&, Host& host, Config::Reader settings)
      : host(host), failureLimit(settings.getFailureLimit()) {}
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, schema::Scheduler::Client(kj::heap<Strategy>(failureLimit)));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  uint32_t failureLimit;
};

}  // namespace
}  // namespace orch::scheduler::spread

ORCH_PLUGIN("scheduler", "spread", "1.0.0", orch::scheduler::spread::Spread,
            orch::scheduler::spread::Config)
