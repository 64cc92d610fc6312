#include "orch/plugin.h"

#include "config.capnp.h"
#include "core.h"

namespace orch::control::manager {
namespace {

class ManagerPlugin final : public PluginInstance {
 public:
  ManagerPlugin(Env& env, Host& host, Config::Reader settings)
      : core(kj::refcounted<Core>(env, host, settings)) {}
  Task<Services> start() override { return core->start(); }
  Task<void> stop() override { return core->stop(); }

 private:
  kj::Own<Core> core;
};

}  // namespace
}  // namespace orch::control::manager

ORCH_PLUGIN("control", "manager", "1.0.0", orch::control::manager::ManagerPlugin,
            orch::control::manager::Config, "store", "scheduler",
            orch::Calls{"control", "filter", "image", "trust", "renewal", "discovery"})
