// One plugin of the manifest from its file to its end: find, check, wait for what it requires,
// start, watch, restart if its process dies, stop.
#pragma once

#include <capnp/message.h>

#include <memory>
#include <string>
#include <vector>

#include "kernel/config/manifest.h"
#include "kernel/config/settings.h"
#include "kernel/plugin/entry-check.h"
#include "kernel/plugin/host-server.h"
#include "kernel/plugin/instance.h"
#include "kernel/rpc/call-stats.h"
#include "kernel/rpc/guard.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::plugin {

// Room for a plugin's settings; more is taken if need be. Cap'n Proto would begin with 8 KiB.
inline constexpr unsigned SETTINGS_WORDS = 64;

// Told about every change of state; answers what others are.
class PluginNeighbours {
 public:
  virtual ~PluginNeighbours() noexcept(false) {}
  // `requirement` is a kind or a plugin id: at once or when one of them runs. Fails if that can
  // never be, since they in turn wait for the plugin `asking`.
  virtual kj::Promise<void> whenRunning(const std::string& asking,
                                        const std::string& requirement) = 0;
  virtual bool isRunning(const std::string& requirement) const = 0;
  // A file may have appeared in a plugin folder.
  virtual kj::Promise<void> whenFilesChange() = 0;
  virtual void stateChanged(const std::string& id) = 0;
};

// Who has asked for a plugin to start: one that fails after a reload leaves orchd alone, even if it
// is critical, until it has run.
enum class StartedBy { ORCHD, RELOAD };

// Lives until the kernel ends: calls in flight refer to its statistics, what it gave to the plugin
// to its logger. Dropping `run` ends a process at once; `stop` lets it drain. A plugin in the
// kernel that has offered services is kept as well, stopped: somebody may still be in it.
class PluginRunner final {
 public:
  using State = schema::PluginStatus::State;

  PluginRunner(NodeParts parts, const PluginPlaces& places, PluginNeighbours& neighbours,
               config::PluginEntry entry, schema::LogLevel level, StartedBy startedBy);
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
  // On its way to a state that lasts: not if it has failed to start and is tried again.
  bool starting() const;
  // What it waited for runs: it is on its way again, though its own turn has not come yet.
  void goOn() { why.clear(); }
  // As it was when it was read last.
  const FileIdentity& fileIdentity() const { return file.identity; }
  // It has been tried, and does not start as it is now.
  bool failsToStart() const { return current == State::FAILED || failedStarts > 0; }
  // Its failure ends orchd.
  bool endsOrchd() const { return settings.critical && startedBy == StartedBy::ORCHD; }
  // Known once its file has been read.
  const std::vector<std::string>& requirements() const { return required; }
  void describe(schema::PluginStatus::Builder status) const;
  // All its settings as TOML, each below its comment if asked; empty until its file has been read.
  std::string settingsToml(bool comments) const;
  kj::Promise<void> setLogLevel(schema::LogLevel level);

 private:
  enum class Ending { FINAL, AGAIN };  // what a start that failed means

  Task<void> live();
  Task<CheckedEntry> findFile();
  Task<void> prepare();
  Task<void> waitForRequirements();
  Task<void> startOnce();
  Task<void> startInTime();
  kj::Promise<void> startAndOffer(schema::Plugin::Client plugin);
  Task<kj::String> whyNotStarted(kj::Exception& error);
  void tookTooLong();
  Ending endingOf(const kj::Exception& error) const;
  Task<kj::String> watch();
  Task<kj::String> whenHung();
  bool mayRestart();
  void withdraw();
  void letGo(kj::StringPtr reason);
  void enter(State state, kj::StringPtr reason = "");
  void tell(schema::LogLevel level, kj::StringPtr message, kj::StringPtr reason);

  NodeParts parts;
  const PluginPlaces& places;
  PluginNeighbours& neighbours;
  config::PluginEntry settings;
  log::Logger logger;
  log::LimitedLog lines;  // that the plugin writes itself
  log::Logger kernelLogger;
  rpc::CallStats stats;

  State current = State::WAITING;
  std::string why;
  config::Isolation isolation;  // as the manifest says until the file is known
  PluginFile file;
  std::vector<std::string> required;
  std::unique_ptr<config::SettingsSchema> schema;
  kj::Own<capnp::MallocMessageBuilder> values;  // once the file has been read
  kj::Maybe<kj::Own<Instance>> instance;
  kj::Maybe<kj::Own<rpc::Guard>> guard;  // around it
  kj::Vector<kj::Own<Instance>> kept;    // in the kernel, stopped; one at most per runner and start
  std::vector<std::string> services;
  StartedBy startedBy;
  enum class Step { LOAD, CONFIGURE, RECOVER, START } step = Step::LOAD;
  bool late = false;          // the start has taken longer than it may
  bool gaveUp = false;        // and was ended for that
  uint32_t failedStarts = 0;  // since it ran last
  kj::TimePoint runningSince;
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
