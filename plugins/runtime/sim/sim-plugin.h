// The plugin around SimRuntime.
#pragma once

#include "config.capnp.h"
#include "orch/plugin.h"
#include "sim.h"

namespace orch::runtime::sim {

class SimPlugin final : public PluginInstance {
 public:
  SimPlugin(Env& env, Host& host, Config::Reader settings);
  Task<Services> start() override;

 private:
  Env& env;
  Host& host;
  SimRuntime runtime;
};

}  // namespace orch::runtime::sim
