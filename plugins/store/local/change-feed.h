// Tells followers of commits, as they happen. One that is behind reads records from the store; one
// that keeps up is served from memory.
#pragma once

#include <deque>
#include <vector>

#include "commit-queue.h"

namespace orch::store::local {

class ChangeFeed;

// One who follows. It ends when it is dropped, when its sink fails or when the store stops.
class Follower final {
 public:
  // Everything after revision `from`. The feed must outlive it.
  Follower(ChangeFeed& feed, uint64_t from, schema::ChangeSink::Client sink);
  ~Follower() noexcept(false);
  KJ_DISALLOW_COPY(Follower);

 private:
  friend class ChangeFeed;
  Task<void> run();
  Task<void> send(uint64_t revision, FlatBatch batch);
  Task<void> readOn();
  Task<void> resync(uint64_t revision);

  ChangeFeed& feed;
  uint64_t position;  // the last revision that the sink has
  schema::ChangeSink::Client sink;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> wake;
  kj::Promise<void> running = kj::READY_NOW;
};

// Lives on the loop.
class ChangeFeed final {
 public:
  static constexpr size_t MAX_FOLLOWERS = 1000;
  static constexpr size_t MAX_RECENT = 64;
  static constexpr size_t MAX_RECENT_BYTES = 1 << 20;

  // `queue` outlives it; `revision` is what the store begins with.
  ChangeFeed(CommitQueue& queue, uint64_t revision) : queue(queue), revision(revision) {}
  KJ_DISALLOW_COPY(ChangeFeed);

  void committed(uint64_t revision, const FlatBatch& batch);

 private:
  friend class Follower;
  // Nothing if it is not, or no longer, in memory.
  FlatBatch recentAt(uint64_t revision) const;

  struct Recent {
    uint64_t revision;
    FlatBatch batch;
  };
  CommitQueue& queue;
  uint64_t revision;
  std::vector<Follower*> followers;
  std::deque<Recent> recent;  // consecutive; empty while nobody follows
  size_t recentBytes = 0;
};

}  // namespace orch::store::local
