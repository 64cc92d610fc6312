// What is asked of a LocalStore, in order and one at a time, on worker threads. Commits that wait
// while another is being written are written together: that is the group commit.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/timer.h>

#include <deque>
#include <memory>
#include <optional>

#include "local-store.h"
#include "orch/env.h"

namespace orch::store::local {

// Lives on the loop. Destroying it lets the running job finish and drops what waits.
class CommitQueue final {
 public:
  static constexpr size_t MAX_WAITING = 10'000;
  static constexpr size_t MAX_WAITING_BYTES = 128 << 20;
  static constexpr size_t MAX_GROUP = 256;
  static constexpr size_t MAX_GROUP_BYTES = 8 << 20;
  // From a commit's answer to its note in the revision file.
  static constexpr kj::Duration NOTED_AFTER = 20 * kj::MILLISECONDS;

  // Told of on the loop. `committed` comes before the commit's own promise settles.
  struct Callbacks {
    kj::Function<void(uint64_t revision, const FlatBatch& batch)> committed;
    kj::Function<void(kj::StringPtr reason)> checkpointEnded;  // empty: it worked
  };
  CommitQueue(Workers& workers, kj::Timer& timer, std::shared_ptr<LocalStore> store,
              Callbacks callbacks);
  KJ_DISALLOW_COPY(CommitQueue);

  // OVERLOADED if too much waits already. Dropping the promise does not take the commit back.
  kj::Promise<CommitAnswer> commit(PendingCommit commit);

  // Runs `work(LocalStore&)` after everything asked before. It touches no KJ object.
  template <typename F>
  auto call(F&& work) -> kj::Promise<decltype(work(kj::instance<LocalStore&>()))>;

  // Does what waits, closes the store, and refuses everything after with DISCONNECTED.
  kj::Promise<void> close();

 private:
  struct Item {
    // Either a commit,
    std::optional<PendingCommit> commit;
    kj::Own<kj::PromiseFulfiller<CommitAnswer>> answer;
    // or a call.
    kj::Maybe<kj::Function<void(LocalStore&)>> work;
    kj::Own<kj::PromiseFulfiller<void>> done;
  };
  kj::Promise<void> callErased(kj::Function<void(LocalStore&)> work);
  kj::Maybe<kj::Exception> whyNot() const;
  void kick();
  Task<void> serve();
  Task<void> serveGroup();
  Task<void> serveCall();
  Task<void> serveCheckpoint();
  Task<void> serveNote();
  void noteSoon();

  Workers& workers;
  kj::Timer& timer;
  std::shared_ptr<LocalStore> store;  // also owned by the running job, which may outlive the queue
  Callbacks callbacks;
  std::deque<Item> items;
  size_t waitingBytes = 0;
  bool serving = false;
  bool closing = false;
  bool checkpointTried = false;  // since the last commit: one that failed is not repeated at once
  bool noteWaits = false;
  bool noteDue = false;
  kj::Promise<void> running = kj::READY_NOW;
  kj::Promise<void> noting = kj::READY_NOW;
};

template <typename F>
auto CommitQueue::call(F&& work) -> kj::Promise<decltype(work(kj::instance<LocalStore&>()))> {
  using T = decltype(work(kj::instance<LocalStore&>()));
  if constexpr (std::is_void_v<T>) {
    return callErased(kj::fwd<F>(work));
  } else {
    // Owned by the job, which fills it, and by the caller, who empties it afterwards.
    auto slot = std::make_shared<std::optional<T>>();
    return callErased([slot, work = kj::fwd<F>(work)](LocalStore& store) mutable {
             slot->emplace(work(store));
           })
        .then([slot]() { return kj::mv(**slot); });
  }
}

}  // namespace orch::store::local
