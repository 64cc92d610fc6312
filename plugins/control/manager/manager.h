// The heart: takes requests and reports in, decides on a View, commits, and tells who has to know.
// One pass at a time; what arrives meanwhile waits for the next one, and that is all the batching
// there is. Runs on the loop's thread.
#pragma once

#include <kj/async.h>

#include "config.capnp.h"
#include "orch/env.h"
#include "orch/host.h"
#include "schedule/scheduling.h"
#include "state/committer.h"
#include "state/view.h"

namespace orch::control::manager {

// Told of what was committed.
class ChangeObserver {
 public:
  // Before it is applied to the state. `before` is null for a new object, `after.isDelete()` for a
  // deleted one.
  virtual void changing(const Key& key, const Object* before, const Change& after) = 0;
  // After a batch was applied.
  virtual void applied() {}
  // The state was loaded again: nothing that was known of it holds.
  virtual void reloaded() {}
  // Another manager leads, or may: the store has not answered for two seconds. Nothing may be said
  // to anybody in this one's name until a change is committed.
  virtual void silenced() {}
};

// What a pass does for one caller. `decide` refuses by throwing, before it changes the view.
using Decide = kj::Function<void(View&)>;

class Manager final {
 public:
  Manager(Env& env, Host& host, Config::Reader settings);
  ~Manager() noexcept(false);
  KJ_DISALLOW_COPY(Manager);

  // Loads the state and takes the lead. Fails if another manager leads.
  Task<void> start();
  // What is being committed is finished; what waits is refused.
  Task<void> stop();

  // Settles when what `decide` did is durable and applied. With a request id the call is answered
  // by the batch that holds its record, else by the last one of the pass.
  kj::Promise<void> submit(Decide decide, kj::StringPtr requestId = nullptr);
  // The nodes have changed in a way that may let waiting tasks run.
  void retryUnplaced();

  const State& state() const { return current; }
  uint64_t epoch() const { return currentEpoch; }
  bool leads() const { return leading; }
  Scheduling& scheduling() { return placer; }
  StoreLimits limits() const { return storeLimits; }
  void observe(ChangeObserver& observer) { observers.add(&observer); }

 private:
  struct Job {
    Decide decide;
    kj::Own<kj::PromiseFulfiller<void>> done;
    kj::String requestId;
  };
  using Jobs = std::vector<Job>;

  Task<void> run();
  Task<void> pass();
  bool hasWork();
  void poke();
  Jobs decideJobs(View& view);
  void reconcile(View& view);
  void takeDueWakes(int64_t nowNs);
  void keepWakes(const View& view);
  Task<void> placeTasks(View& view);
  Task<void> commitAll(View& view, Jobs& jobs);
  void apply(Batch batch, uint64_t revision, Jobs& jobs);
  Task<void> commitFailed(CommitOutcome outcome, Jobs& jobs);
  Task<void> load();
  Task<void> reloadUntilItWorks();
  void refuseAll(Jobs& jobs, kj::StringPtr why);
  void silence();
  Task<CommitOutcome> commitOrFallSilent(const Batch& batch);
  void armTimer();
  Task<void> wakeLater(int64_t atNs);

  Env& env;
  Host& host;
  Config::Reader settings;
  schema::Store::Client store;
  State current;
  Scheduling placer;
  Committer committer;
  StoreLimits storeLimits;
  uint64_t currentEpoch = 0;
  bool leading = false;
  bool stopping = false;
  kj::String notLeading;

  Jobs queue;
  std::set<std::string> dirty;           // services to look at
  std::set<std::string> waiting;         // services whose unplaced tasks should be tried again
  std::map<std::string, int64_t> wakes;  // services, by time
  bool retryAll = false;
  int64_t nodesAgainNs = 0;
  int64_t requestsAgainNs = INT64_MAX;
  int64_t pausedUntilNs = 0;  // after a commit that failed
  int64_t pauseNs = 0;
  int64_t timerAtNs = INT64_MAX;

  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> sleeper;  // of `run`, while there is nothing to do
  kj::Vector<ChangeObserver*> observers;
  kj::Promise<void> timer;
  kj::Promise<void> loop;
};

}  // namespace orch::control::manager
