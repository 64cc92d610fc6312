// One plugin of the manifest from its file to its end: find, check, wait for what it requires,
// start, watch, restart if its process dies, stop.
#pragma once

#include <capnp/message.h>

#include <memory>
#include <string>
#include <vector>

#include "kernel/config/manifest.h"
#include "kernel/config/settings.h"
#include "kernel/plugin/host-server.h"
#include "kernel/plugin/instance.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::plugin {

// Where the files are. All are searched in order; the last is the installation's own.
struct PluginPlaces {
  std::vector<std::string> folders;
  std::string ownFolder;
  std::string hostProgram;  // orch-plugin-host
};

// Told about every change of state; answers what others are.
class PluginNeighbours {
 public:
  virtual ~PluginNeighbours() noexcept(false) {}
  // `requirement` is a kind or a plugin id: at once or when one of them runs.
  virtual kj::Promise<void> whenRunning(const std::string& requirement) = 0;
  virtual bool isRunning(const std::string& requirement) const = 0;
  // A file may have appeared in a plugin folder.
  virtual kj::Promise<void> whenFilesChange() = 0;
  virtual void stateChanged(const std::string& id) = 0;
};

// Lives until its `run` has ended or has been dropped. Dropping `run` ends a process at once;
// `stop` lets it drain.
class PluginRunner final {
 public:
  using State = schema::PluginStatus::State;

  PluginRunner(NodeParts parts, const PluginPlaces& places, PluginNeighbours& neighbours,
               config::PluginEntry entry, schema::LogLevel level);
  ~PluginRunner() noexcept(false);
  KJ_DISALLOW_COPY(PluginRunner);

  // Settles when it has stopped or failed for good. Once.
  kj::Promise<void> run();
  // Stops it if it runs and keeps it from starting. Never fails.
  kj::Promise<void> stop();

  const config::PluginEntry& entry() const { return settings; }
  State state() const { return current; }
  const std::string& reason() const { return why; }
  bool isolated() const { return isolation == config::Isolation::PROCESS; }
  void describe(schema::PluginStatus::Builder status) const;
  // Its settings as TOML; with the comments of the fields if asked.
  std::string settingsToml(bool comments) const;
  kj::Promise<void> setLogLevel(schema::LogLevel level);

 private:
  Task<void> live();
  Task<PluginFile> findFile();
  Task<void> prepare();
  Task<void> waitForRequirements();
  Task<void> startOnce();
  kj::Promise<void> startAndOffer(schema::Plugin::Client plugin);
  Task<kj::String> watch();
  kj::Promise<void> withDeadline(kj::Promise<void> step, uint64_t ms, const char* what);
  bool mayRestart();
  void withdraw();
  void enter(State state, kj::StringPtr reason = "");

  NodeParts parts;
  const PluginPlaces& places;
  PluginNeighbours& neighbours;
  config::PluginEntry settings;
  log::Logger logger;
  log::Logger kernelLogger;
  rpc::CallStats stats;

  State current = State::WAITING;
  std::string why;
  config::Isolation isolation = config::Isolation::KERNEL;
  PluginFile file;
  std::unique_ptr<config::SettingsSchema> schema;
  capnp::MallocMessageBuilder values;
  kj::Maybe<kj::Own<Instance>> instance;
  std::vector<std::string> services;
  uint32_t restarts = 0;
  std::vector<kj::TimePoint> recentRestarts;
  uint64_t backoffMs = 0;
  bool stopping = false;
  kj::PromiseFulfillerPair<void> stopAsked;
  kj::ForkedPromise<void> stopSignal;
  kj::PromiseFulfillerPair<void> ended;
  kj::ForkedPromise<void> endedSignal;
};

}  // namespace orch::plugin
