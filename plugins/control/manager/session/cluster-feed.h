// The service `cluster-tasks`: the tasks of the whole cluster that run, for those who tell others
// of them, as a balancer's configuration does; and that a task is not told to end before they have.
#pragma once

#include "lib/task-feed.h"
#include "manager.h"

namespace orch::control::manager {

// Of the manager that leads; every watch ends when it may lead no more. What is told of a task is
// where it is and what it is called: nothing of what its container is given.
class ClusterFeed final : public ChangeObserver, private TaskFeed::Source {
 public:
  // Of those who watch, and again of those who follow them.
  static constexpr kj::Duration WATCHERS_LIMIT = 5 * kj::SECONDS;

  // Observes `manager` from now on; `owner` keeps both alive.
  ClusterFeed(kj::Refcounted& owner, Env& env, Manager& manager);
  KJ_DISALLOW_COPY(ClusterFeed);

  schema::TaskFeed::Client client();
  bool isWatched() const { return watches.isWatched(); }
  // As TaskFeed::settled: of all that was applied until now.
  Task<bool> settled() { return watches.settled(); }
  void stop() { end(); }

  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void applied() override;
  void deposed() override { end(); }
  void reloaded() override { end(); }
  void silenced() override { end(); }

 private:
  class Server;
  std::vector<std::string> fedTasks() override;
  bool isFed(const std::string& id) override;
  void feed(const std::string& id, schema::TaskEntry::Builder entry) override;
  void end();

  kj::Refcounted& owner;
  Manager& manager;
  std::set<std::string> changed;  // by this batch
  TaskFeed watches;
  kj::Canceler calls;  // last: what it ends uses all of the above
};

}  // namespace orch::control::manager
