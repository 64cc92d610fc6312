// Tells one follower of every batch, from consul's blocking queries.
#pragma once

#include "consul-store.h"

namespace orch::store::consul {

// It ends when it is dropped or when its sink fails. consul tells only that the key `head` has
// changed; what has is read from the changes that are kept by number, so that none is missed
// however long it was away. A connection that breaks is made again, at another endpoint.
class Follower final : public Following {
 public:
  // The first byte of `change/NUMBER`.
  static constexpr char WHOLE = 'v';  // with the values
  static constexpr char NAMES = 'n';  // without

  // Everything after revision `from`. The store outlives it.
  Follower(ConsulStore& store, uint64_t from, schema::ChangeSink::Client sink);
  KJ_DISALLOW_COPY(Follower);

 private:
  Task<void> run();
  Task<void> watch();
  // The number that belongs to `position`; nothing: what follows it is gone in part.
  Task<std::optional<uint64_t>> locate();
  // consul's index of the change; nothing if it is not there.
  Task<std::optional<uint64_t>> indexOf(uint64_t number);
  // Tells of all up to the head that is known.
  Task<void> catchUp();
  Task<void> tell(const KeyValue& change);
  // Without the values that the change does not have. False if it is damaged.
  bool fill(schema::ChangeSink::ChangesParams::Builder params, const KeyValue& change) const;
  // The values from the objects themselves. False if one of them has changed again.
  Task<bool> fetch(schema::ChangeSink::ChangesParams::Builder params);
  Task<void> resync();

  ConsulStore& store;
  const Layout& layout;
  uint64_t position;  // the revision that the sink knows
  std::optional<uint64_t> number;
  schema::ChangeSink::Client sink;
  bool sinkFailed = false;
  bool told = false;  // that it is cut off
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::store::consul
