#include "orch/plugin.h"

#include "config.capnp.h"
#include "first.h"
#include "orch/fail.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::scheduler::first {
namespace {

class Table final : public schema::PlacementTable::Server {
 public:
  explicit Table(FirstTable table) : table(kj::mv(table)) {}

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
    auto placed = table.place(params.getGroup(), params.getCount());
    auto results = context.getResults();
    auto nodes = results.initNodes(placed.size());
    for (uint32_t i = 0; i < placed.size(); ++i) nodes.set(i, placed[i]);
    results.setUnplaced(params.getCount() - placed.size());
    return kj::READY_NOW;
  }

 private:
  FirstTable table;
};

class Strategy final : public schema::Scheduler::Server {
 public:
  explicit Strategy(uint32_t sparePercent) : sparePercent(sparePercent) {}

  kj::Promise<void> open(OpenContext context) override {
    FirstTable table(sparePercent);
    for (auto node : context.getParams().getNodes()) table.put(node);
    context.getResults().setTable(kj::heap<Table>(kj::mv(table)));
    return kj::READY_NOW;
  }

 private:
  uint32_t sparePercent;
};

class First final : public PluginInstance {
 public:
  // Checks its settings and touches nothing outside.
  First(Env&, Host& host, Config::Reader settings)
      : host(host), sparePercent(settings.getSparePercent()) {
    if (sparePercent > 90) {
      fail(kj::str("sparePercent must be between 0 and 90, not ", sparePercent));
    }
  }
  // Once everything it requires runs. What it offers, by name: its instance's, so that the manifest
  // may have several.
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, schema::Scheduler::Client(kj::heap<Strategy>(sparePercent)));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  uint32_t sparePercent;
};

}  // namespace
}  // namespace orch::scheduler::first

ORCH_PLUGIN("scheduler", "first", "1.0.0", orch::scheduler::first::First,
            orch::scheduler::first::Config)
