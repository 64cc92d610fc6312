// What a manager that follows keeps of the state, so that it can be read when nobody leads: loaded
// from the store, and followed by its change records. It lies in the Manager, which leads nothing
// meanwhile.
#pragma once

#include <kj/refcount.h>

#include <string>

#include "manager.h"
#include "orch/store-client.h"

namespace orch::control::manager {

class StateReplica final {
 public:
  // Begins at once, and begins again for as long as it is there. `check`: whether a state is one to
  // keep; fails if not.
  StateReplica(Env& env, Host& host, Manager& manager, kj::StringPtr store, kj::Duration timeout,
               Manager::Check check);
  ~StateReplica() noexcept(false);
  KJ_DISALLOW_COPY(StateReplica);

  kj::StringPtr store() const { return name; }
  // Up to which it has come; 0: not yet there.
  uint64_t revision() const { return reached; }
  // Whether it has come that far, no further, and is whole. False as soon as it has to begin again,
  // or has been told nothing for PATIENCE.
  Task<bool> reach(uint64_t revision);
  // A copy that is behind, and has not been told anything for so long, is made anew: a store that
  // has started again tells nobody that it knows nothing of who followed it.
  static constexpr kj::Duration PATIENCE = 2 * kj::SECONDS;
  // Why not, since it has last tried; empty: it is there, or on its way.
  kj::StringPtr trouble() const { return failure; }

 private:
  class Sink;
  // Outlived by sinks that the store still holds.
  struct Link final : public kj::Refcounted {
    kj::Maybe<StateReplica&> replica;
  };
  Task<void> run();
  Task<void> followOnce();
  void take(uint64_t revision, capnp::List<schema::Op>::Reader ops);
  void lost(kj::StringPtr why);
  void wake();

  Env& env;
  Host& host;
  Manager& manager;
  const kj::String name;
  schema::Store::Client service;
  StoreClient client;
  Manager::Check check;
  kj::Own<Link> link = kj::refcounted<Link>();
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> ended;  // that it can be followed
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> moved;  // it has gone on, or begins again
  uint64_t reached = 0;
  kj::String failure;
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::control::manager
