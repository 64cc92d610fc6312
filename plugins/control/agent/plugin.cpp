#include "orch/plugin.h"

#include "agent.h"
#include "orch/fail.h"

namespace orch::control::agent {
namespace {

class AgentPlugin final : public PluginInstance {
 public:
  AgentPlugin(Env& env, Host& host, Config::Reader settings)
      : host(host), agent(env, host, settings) {
    if (settings.getStore().size() == 0) fail(kj::str("store must name a service, as store.local"));
    if (settings.getDispatcher().size() == 0) {
      fail(kj::str("dispatcher must name a service, as dispatcher"));
    }
    if (settings.getRuntimes().size() == 0) fail(kj::str("runtimes must name one, as crun"));
  }
  Task<Services> start() override {
    co_await agent.start();
    Services services;
    services.add(host.node().instance, agent.client());
    services.add("tasks", agent.feed());
    co_return kj::mv(services);
  }
  Task<void> stop() override { return agent.stop(); }

 private:
  Host& host;
  NodeAgent agent;
};

}  // namespace
}  // namespace orch::control::agent

ORCH_PLUGIN("control", "agent", "1.0.0", orch::control::agent::AgentPlugin,
            orch::control::agent::Config, "store", "runtime",
            orch::Calls{"dispatcher", "image", "network", "trust"})
