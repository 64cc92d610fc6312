#include "orch/plugin.h"

#include "config.capnp.h"
#include "discovery.h"

namespace orch::control::discovery {
namespace {

class DiscoveryPlugin final : public PluginInstance {
 public:
  DiscoveryPlugin(Env& env, Host& host, Config::Reader settings)
      : discovery(kj::refcounted<Discovery>(env, host, settings)) {}
  ~DiscoveryPlugin() noexcept(false) override { discovery->end(); }

  Task<Services> start() override {
    co_await discovery->start();
    Services services;
    services.add("discovery", newDiscoveryService(kj::addRef(*discovery)));
    co_return kj::mv(services);
  }
  // Its entry goes by itself when its time is over: a restart is no reason to be missed.
  Task<void> stop() override {
    discovery->end();
    co_return;
  }

 private:
  kj::Own<Discovery> discovery;
};

}  // namespace
}  // namespace orch::control::discovery

ORCH_PLUGIN("control", "discovery", "1.0.0", orch::control::discovery::DiscoveryPlugin,
            orch::control::discovery::Config, orch::Calls{"discovery"})
