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
  // Checks all entries, and fails without a change at the first that cannot be used. Then starts
  // what is new, stops what is gone, restarts isolated plugins whose entry or file changed; what
  // needs a new orchd is only named. Waits a moment for what it has started, to say what became of
  // it: if one that ran before does not start now, all is as it was before, and the reload fails. A
  // critical plugin that does not start this time leaves orchd alone. One at a time; `entries`
  // outlives it.
  Task<ReloadResult> reload(const std::vector<config::PluginEntry>& entries);
  // Of all plugins, and of those to come.
  void setLogLevel(schema::LogLevel level);

  // Settles when a plugin that is critical has failed, with its id and reason.
  kj::Promise<kj::String> onCriticalFailure();
  // Settles when no plugin is starting any more: each runs, waits or has failed.
  kj::Promise<void> onSettled();
  void filesChanged();

  std::vector<const PluginRunner*> runners() const;
  PluginRunner* find(const std::string& id) const;
  // Every folder in which a plugin's file may appear or change.
  std::vector<std::string> folders() const;
  // Settles at the next change of `folders()`.
  kj::Promise<void> whenFoldersChange();

  kj::Promise<void> whenRunning(const std::string& asking, const std::string& requirement) override;
  bool isRunning(const std::string& requirement) const override;
  kj::Promise<void> whenFilesChange() override;
  void stateChanged(const std::string& id) override;

 private:
  void add(const config::PluginEntry& entry, StartedBy startedBy);
  // Keeps a runner that has stopped out of sight.
  void retire(const std::string& id);
  using Found = std::map<std::string, FileIdentity>;  // the file of each entry that has one
  Task<Found> check(const std::vector<config::PluginEntry>& entries);
  struct Started {
    std::string id;
    bool ranBefore;
  };
  Task<void> apply(const std::vector<config::PluginEntry>& entries, const Found& files,
                   ReloadResult& result, std::vector<Started>& started);
  Task<void> report(const std::vector<Started>& started, ReloadResult& result);
  Task<void> takeBack(const std::vector<Started>& started,
                      const std::vector<config::PluginEntry>& before);
  // "a.one → b.two → a.one" if `id` can never start since others wait for it; else nothing.
  std::string circleOf(const std::string& id) const;
  std::vector<const PluginRunner*> providersOf(const std::string& requirement) const;
  std::map<std::string, bool> whoCanStart() const;
  void refuseCircles();
  void taskFailed(kj::Exception&& exception) override;

  NodeParts parts;
  PluginPlaces places;
  std::map<std::string, std::unique_ptr<PluginRunner>> plugins;
  std::vector<std::unique_ptr<PluginRunner>> retired;  // as many as reloads have taken away
  std::vector<std::string> startOrder;
  schema::LogLevel level;
  bool stopping = false;
  struct Waiter {
    std::string asking;
    std::string requirement;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  std::vector<Waiter> waiters;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> fileWaiters;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> folderWaiters;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> settledWaiters;
  kj::PromiseFulfillerPair<kj::String> criticalFailure;
  kj::TaskSet running;
};

}  // namespace orch::plugin
