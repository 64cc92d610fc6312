// Tells one follower of every batch, from the records by their numbers.
#pragma once

#include "zookeeper-store.h"

namespace orch::store::zookeeper {

// It ends when it is dropped or when its sink fails. Only the node `head` is watched: whatever a
// watch does not tell of, the next number does.
class Follower final : public Following {
 public:
  // Everything after revision `from`. The references outlive it.
  Follower(Env& env, ZookeeperStore& store, Log& log, uint64_t from,
           schema::ChangeSink::Client sink);
  KJ_DISALLOW_COPY(Follower);

 private:
  Task<void> run();
  Task<void> watch();
  Task<void> waitForState();
  // Up to the record `to`.
  Task<void> tell(uint64_t to);
  // False if it is gone, or what it left out is.
  Task<bool> tellOne(uint64_t number, std::optional<Change> change);
  Task<void> resync();
  // With what was told so far.
  Task<void> compare(const Head& head);
  template <typename R>
  Task<void> send(R request);

  Env& env;
  ZookeeperStore& store;
  Log& log;
  uint64_t position;  // of the last record that was told or passed over
  StateSum sum;       // as of then; nothing: not yet known
  schema::ChangeSink::Client sink;
  bool sinkFailed = false;
  bool told = false;  // that something is wrong
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::store::zookeeper
