// One node's kernel: event log, bus, registry and plugins, wired together. It knows nothing of what
// the plugins do. Many kernels may live in one process, each with its own Env.
#pragma once

#include <memory>

#include "kernel/bus/bus.h"
#include "kernel/config/manifest.h"
#include "kernel/log/logger.h"
#include "kernel/plugin/plugin-set.h"
#include "kernel/rpc/registry.h"
#include "kernel/trust/trust.h"

namespace orch {

// configure: the constructor · open · start · (runs) · stop. `env` outlives it.
class Kernel final : private bus::EventLogWatcher {
 public:
  // `manifestFile` is read again by reload; empty: there is none.
  Kernel(Env& env, config::Manifest manifest, plugin::PluginPlaces places,
         std::string manifestFile);
  ~Kernel() noexcept(false) override;
  KJ_DISALLOW_COPY(Kernel);

  // All plugins together get this long to drain; the unit's TimeoutStopSec is longer.
  static constexpr uint64_t STOP_DEADLINE_MS = 60'000;
  static constexpr uint64_t FLUSH_DEADLINE_MS = 5'000;
  static constexpr uint32_t MAX_RELOADS = 16;  // that wait for their turn

  // Opens the event log and lets the plugins start. From here on the gateway answers.
  Task<void> open();
  // Settles when each plugin runs, waits or has failed. Opens before if nobody has.
  Task<void> start();
  // Plugins drain, in reverse order and within STOP_DEADLINE_MS. Containers go on. Works at any
  // time, also when `open` has failed.
  Task<void> stop();
  // Reads the manifest again and applies what can be applied, or changes nothing and fails. One
  // after the other.
  Task<plugin::ReloadResult> reload();

  schema::Gateway::Client gateway();
  // What another host may reach, by its certificate.
  schema::Gateway::Client gatewayFor(schema::Peer::Reader peer);
  rpc::Registry& services() { return registry; }
  plugin::PluginSet& plugins() { return *pluginSet; }
  const config::Manifest& manifest() const { return current; }
  const plugin::NodeIdentity& identity() const { return node; }
  // Settles when the node is to start again, as what it has become.
  kj::Promise<void> onRestart() { return trust.onRestart(); }

 private:
  class KernelServer;
  class GatewayServer;
  Task<void> readIdentity();
  kj::Promise<void> whenOffered(const std::string& name);  // if it still may be
  Task<plugin::ReloadResult> reloadNow();
  void writeFailed(kj::StringPtr reason) override;
  void writeWorks(uint64_t dropped) override;

  Env& env;
  config::Manifest current;
  std::string manifestFile;
  plugin::NodeIdentity node;
  rpc::Registry registry;
  log::Logger logger;
  trust::Trust trust;
  kj::Own<bus::EventLog> eventLog;
  kj::Own<bus::Bus> eventBus;
  plugin::PluginPlaces places;
  kj::Own<plugin::PluginSet> pluginSet;
  bool settled = false;  // the plugins' first start
  uint32_t reloads = 0;
  kj::Promise<void> lastReload = kj::READY_NOW;
};

}  // namespace orch
