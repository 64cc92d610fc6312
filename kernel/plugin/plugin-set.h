// All plugins of a node: who waits for whom, what a reload changes, the order of stopping.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/plugin/plugin-runner.h"

namespace orch::plugin {

struct ReloadResult {
  std::vector<std::string> applied;
  std::vector<std::string> needRestart;
};

class PluginSet final : public PluginNeighbours, private kj::TaskSet::ErrorHandler {
 public:
  PluginSet(NodeParts parts, PluginPlaces places);
  ~PluginSet() noexcept(false) override;

  // Starts all at once; each waits for what it requires. Plugins that require each other in a
  // circle are refused by name.
  void start(const std::vector<config::PluginEntry>& entries);
  // In the reverse order of their starting, each under its deadline.
  Task<void> stop();
  // Starts what is new, stops what is gone, restarts isolated plugins whose entry changed; what
  // needs a new orchd is only named.
  Task<ReloadResult> reload(const std::vector<config::PluginEntry>& entries);

  // Settles when a plugin that is critical has failed, with its id and reason.
  kj::Promise<kj::String> onCriticalFailure();
  // Settles when no plugin is starting any more: each runs, waits or has failed.
  kj::Promise<void> onSettled();
  void filesChanged();

  std::vector<const PluginRunner*> runners() const;
  PluginRunner* find(const std::string& id) const;
  // Every folder that plugins are looked for in.
  const std::vector<std::string>& folders() const { return places.folders; }

  kj::Promise<void> whenRunning(const std::string& requirement) override;
  bool isRunning(const std::string& requirement) const override;
  kj::Promise<void> whenFilesChange() override;
  void stateChanged(const std::string& id) override;

 private:
  void add(const config::PluginEntry& entry);
  void taskFailed(kj::Exception&& exception) override;

  NodeParts parts;
  PluginPlaces places;
  std::map<std::string, std::unique_ptr<PluginRunner>> plugins;
  std::vector<std::string> startOrder;
  struct Waiter {
    std::string requirement;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  std::vector<Waiter> waiters;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> fileWaiters;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> settledWaiters;
  kj::PromiseFulfillerPair<kj::String> criticalFailure;
  kj::TaskSet running;
};

}  // namespace orch::plugin
