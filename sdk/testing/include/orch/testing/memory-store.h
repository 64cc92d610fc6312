// A model of a store, in memory: keeps every promise of sdk/schema/store.capnp (its conformance
// suite runs in this folder's tests) but for being durable, and fails on request.
#pragma once

#include <kj/refcount.h>

#include "orch/schema/store.capnp.h"

namespace orch::testing {

class MemoryStore final {
 public:
  explicit MemoryStore(uint32_t maxOps = 1000, uint64_t maxBytes = 4 << 20);
  ~MemoryStore() noexcept(false);

  // Any number of them share the state; it lives as long as the last.
  schema::Store::Client client();
  // Followers get nothing more, as after a restart.
  void dropFollowers();

  enum class Fault {
    NONE,
    REFUSE,              // FAILED, nothing was changed: a full disk
    UNKNOWN_APPLIED,     // answers `unknown`, but the batch was applied
    UNKNOWN_LOST,        // answers `unknown`, and it was not
    DISCONNECT_APPLIED,  // the answer is lost on its way
    OVERLOAD_APPLIED,    // the answer comes after the deadline, which fails with OVERLOADED
    CUT_OFF              // as DISCONNECT_APPLIED, and all further calls fail until `reconnect`
  };
  // What becomes of the commit after the next `skip` ones.
  void inject(Fault fault, uint32_t skip = 0);
  // While they are held, such calls are neither done nor answered.
  void holdLoads(bool holds);
  void holdCommits(bool holds);
  // All calls fail with DISCONNECTED, and change nothing, until `reconnect`.
  void disconnect();
  void reconnect();
  // Applied so far.
  uint64_t commits() const;
  uint64_t largestBatch() const;

  struct State;

 private:
  kj::Own<State> state;
};

}  // namespace orch::testing
