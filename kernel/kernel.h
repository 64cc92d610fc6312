// One node's kernel: event log, bus, registry and plugins, wired together. It knows nothing of what
// the plugins do. Many kernels may live in one process, each with its own Env.
#pragma once

#include <memory>

#include "kernel/bus/bus.h"
#include "kernel/config/manifest.h"
#include "kernel/loop/lag-meter.h"
#include "kernel/plugin/plugin-set.h"
#include "kernel/rpc/registry.h"

namespace orch {

// configure: the constructor · start · (runs) · stop. `env` outlives it.
class Kernel final {
 public:
  // `manifestFile` is read again by reload; empty: there is none.
  Kernel(Env& env, config::Manifest manifest, plugin::PluginPlaces places,
         std::string manifestFile);
  ~Kernel() noexcept(false);
  KJ_DISALLOW_COPY(Kernel);

  // Opens the event log and starts the plugins; settles when each of them runs, waits or has
  // failed.
  Task<void> start();
  // Plugins drain, in reverse order. Containers go on.
  Task<void> stop();
  Task<plugin::ReloadResult> reload();

  schema::Gateway::Client gateway();
  plugin::PluginSet& plugins() { return *pluginSet; }
  const loop::LagMeter& lag() const { return *lagMeter; }
  const config::Manifest& manifest() const { return current; }
  const plugin::NodeIdentity& identity() const { return node; }

 private:
  class KernelServer;
  class GatewayServer;
  Task<void> readIdentity();

  Env& env;
  config::Manifest current;
  std::string manifestFile;
  kj::TimePoint startedAt;
  plugin::NodeIdentity node;
  rpc::Registry registry;
  rpc::CallStats ownStats;
  kj::Own<bus::EventLog> eventLog;
  kj::Own<bus::Bus> eventBus;
  kj::Own<loop::LagMeter> lagMeter;
  plugin::PluginPlaces places;
  kj::Own<plugin::PluginSet> pluginSet;
};

}  // namespace orch
