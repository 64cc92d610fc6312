// The heart: takes requests and reports in, decides on a View, commits, and tells who has to know.
// One pass at a time; what arrives meanwhile waits for the next one, and that is all the batching
// there is. Runs on the loop's thread.
#pragma once

#include <kj/async.h>

#include "config.capnp.h"
#include "decide/dirty-queue.h"
#include "orch/env.h"
#include "orch/host.h"
#include "schedule/scheduling.h"
#include "state/batches.h"
#include "state/view.h"

namespace orch::control::manager {

// Told of what was committed.
class ChangeObserver {
 public:
  // Before it is applied to the state. `before` is empty for a new object, `after` for one that
  // is deleted.
  virtual void changing(const Key& key, const Snapshot& before, const Snapshot& after) = 0;
  // After a batch was applied.
  virtual void applied() {}
  // It was heard of, or not, otherwise than before.
  virtual void sighted(const std::string& /*nodeId*/) {}
  // A pass that began then has ended; all that it has committed was applied.
  virtual void passed(int64_t /*atNs*/) {}
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
  // Calls `look` with a view whose changes are thrown away, while nothing else changes the state.
  // What others ask for waits until it is done.
  using Look = kj::Function<Task<void>(View&)>;
  kj::Promise<void> explore(Look look);
  // What was heard of a node, or that nothing was, and then why.
  void noteNode(const std::string& nodeId, Presence presence, std::string reason = {});

  const State& state() const { return current; }
  uint64_t epoch() const { return currentEpoch; }
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
  struct Exploration {
    Look look;
    kj::Own<kj::PromiseFulfiller<void>> done;
  };

  Task<void> run();
  Task<bool> pass();
  Task<void> exploreOne();
  kj::Promise<void> others();
  bool hasWork();
  void poke();
  Jobs decideJobs(View& view);
  void markTouched(View& view);
  Task<void> reconcileDirty(View& view);
  void lookAgain();
  // Of services that others depend on, by name: they were changed, or a task of theirs was.
  void noteForDependents(const Key& key, const Snapshot& object, std::set<std::string>& changed);
  void wakeDependents(const std::set<std::string>& changed);
  Task<void> commitAll(View& view, Jobs& jobs);
  void apply(Batch batch, uint64_t revision, Jobs& jobs);
  Task<void> commitFailed(CommitOutcome outcome, Jobs& jobs);
  Task<void> load();
  Task<void> reloadUntilItWorks();
  void refuseAll(Jobs& jobs, kj::StringPtr why);
  void refuseAll(kj::StringPtr why);
  void silence();
  Task<CommitOutcome> commitOrFallSilent(const Batch& batch);
  void armTimer();
  Task<void> wakeLater(int64_t atNs);

  Env& env;
  Host& host;
  Config::Reader settings;
  kj::Own<StoreClient> store;  // from `start` on
  State current;
  Scheduling placer;
  StoreLimits storeLimits;
  uint64_t currentEpoch = 0;
  bool leading = false;
  bool stopping = false;
  kj::String notLeading;

  Jobs queue;
  std::vector<Exploration> explorations;
  DirtyQueue dirty;
  std::vector<DirtyKey> inHand;  // taken by this pass
  int64_t pausedUntilNs = 0;     // after a commit that failed
  int64_t pauseNs = 0;
  int64_t timerAtNs = INT64_MAX;

  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> sleeper;  // of `run`, while there is nothing to do
  kj::Vector<ChangeObserver*> observers;
  kj::Promise<void> timer;
  kj::Promise<void> loop;
};

}  // namespace orch::control::manager
