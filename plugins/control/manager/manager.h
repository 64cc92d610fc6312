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
  // A pass that began then has ended; all that it has committed was applied. `placed`: services
  // whose tasks waited for nodes, in the order in which they were given some.
  virtual void passed(int64_t /*atNs*/, const std::vector<std::string>& /*placed*/) {}
  // Somebody else leads.
  virtual void deposed() {}
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

  // Loads the state from the store of that name and takes the lead. Fails if another manager leads,
  // and, before anything is changed, if `check` does not like the state.
  using Check = kj::Function<void(const State&, uint64_t epoch)>;
  // Ends the copy that was followed so far. True: it is whole, and of that revision. With 0 it is
  // not to be used.
  using EndCopy = kj::Function<Task<bool>(uint64_t revision)>;
  // With `endCopy` what is there is the copy of a store's state, and is led from then on, without
  // being loaded again.
  Task<void> start(kj::StringPtr store, Check check, kj::Maybe<EndCopy> endCopy = nullptr);
  // What is being committed is finished; what waits is refused.
  Task<void> stop();
  // Lets go of what it led: what waits is refused, and nothing more is said to anybody, until the
  // next start.
  void abandon(kj::StringPtr why);

  // Settles when what `decide` did is durable and applied. With a request id the call is answered
  // by the batch that holds its record, else by the last one of the pass.
  kj::Promise<void> submit(Decide decide, kj::StringPtr requestId = nullptr);
  // Calls `look` with a view whose changes are thrown away, while nothing else changes the state.
  // What others ask for waits until it is done.
  using Look = kj::Function<Task<void>(View&)>;
  kj::Promise<void> explore(Look look);
  // Calls `leave` with the epoch while nothing changes the state, and goes on with what is in the
  // store that it names, if `check` likes that. What others ask for waits until it is loaded.
  using Leave = kj::Function<Task<kj::String>(uint64_t epoch)>;
  kj::Promise<void> move(Leave leave, Check check);
  // While another one leads, or nobody: what there is to read is what `from` has, if `whether`
  // likes it, and from then on what it is told. Answers the revision.
  Task<uint64_t> copy(StoreClient& from, Check whether);
  void learn(uint64_t revision, capnp::List<schema::Op>::Reader ops);
  // Nobody is heard of by anybody any more.
  void noteUnled();
  // Why the last change could not be saved; empty: it was.
  kj::StringPtr trouble() const { return unsaved; }
  // What was heard of a node, or that nothing was, and then why.
  void noteNode(const std::string& nodeId, Presence presence, std::string reason = {});

  bool leads() const { return leading; }
  const State& state() const { return current; }
  uint64_t epoch() const { return currentEpoch; }
  Scheduling& scheduling() { return placer; }
  StoreLimits limits() const { return storeLimits; }
  void observe(ChangeObserver& observer) { observers.add(&observer); }
  // Who has which image, from now on. Outlives the passes.
  void askForImages(const ImageHolders& holders) { current.images = &holders; }

 private:
  struct Job {
    Decide decide;
    kj::Own<kj::PromiseFulfiller<void>> done;
    kj::String requestId;
  };
  using Jobs = std::vector<Job>;
  struct Moving {
    Leave leave;
    Check check;
    kj::Own<kj::PromiseFulfiller<void>> done;
  };
  struct Exploration {
    Look look;
    kj::Own<kj::PromiseFulfiller<void>> done;
  };

  Task<void> run();
  Task<bool> pass();
  Task<void> exploreOne();
  Task<void> moveNow();
  void useStore(kj::StringPtr name);
  kj::Promise<void> others();
  bool hasWork();
  void poke();
  Jobs decideJobs(View& view);
  void markTouched(View& view);
  Task<void> reconcileDirty(View& view);
  Task<int64_t> workOff(View& view, DirtyKey key);
  void lookAgain();
  // Of services that others depend on, by name: they were changed, or a task of theirs was.
  void noteForDependents(const Key& key, const Snapshot& object, std::set<std::string>& changed);
  void wakeDependents(const std::set<std::string>& changed);
  Task<void> commitAll(View& view, Jobs& jobs);
  void apply(Batch batch, uint64_t revision, Jobs& jobs);
  Task<void> commitFailed(CommitOutcome outcome, Jobs& jobs);
  Task<StoreClient::Loaded> read(StoreClient& from, State& next);
  Task<void> load(kj::Maybe<EndCopy> endCopy = nullptr);
  Task<bool> finishCopy(EndCopy& endCopy);
  void replaceBy(State next);
  [[noreturn]] void failDeposed(kj::String why);
  Task<void> reloadUntilItWorks();
  void refuseAll(Jobs& jobs, kj::StringPtr why);
  void refuseAll(kj::StringPtr why);
  void silence();
  kj::Exception whyNot() const;
  Task<CommitOutcome> commitOrFallSilent(const Batch& batch);
  void armTimer();
  Task<void> wakeLater(int64_t atNs);

  Env& env;
  Host& host;
  Config::Reader settings;
  kj::Own<StoreClient> store;  // from `start` on
  Check check = [](const State&, uint64_t) {};
  State current;
  Scheduling placer;
  StoreLimits storeLimits;
  uint64_t currentEpoch = 0;
  bool leading = false;
  bool stopping = false;
  kj::String notLeading;
  kj::String unsaved;

  Jobs queue;
  Jobs* deciding = nullptr;  // by the pass
  bool committing = false;   // what the pass has decided
  std::vector<Exploration> explorations;
  kj::Maybe<Moving> moving;
  DirtyQueue dirty;
  std::vector<DirtyKey> inHand;     // taken by this pass
  std::vector<std::string> placed;  // services that it looked for nodes for, in order
  int64_t pausedUntilNs = 0;        // after a commit that failed
  int64_t pauseNs = 0;
  int64_t timerAtNs = INT64_MAX;

  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> sleeper;  // of `run`, while there is nothing to do
  kj::Vector<ChangeObserver*> observers;
  kj::Promise<void> timer;
  kj::Promise<void> loop;
};

}  // namespace orch::control::manager
