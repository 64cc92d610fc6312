// A model of a store, in memory: keeps every promise of sdk/schema/store.capnp (its conformance
// suite runs in this folder's tests), and fails on request. It outlives who uses it, as a disk
// does.
#pragma once

#include <kj/function.h>
#include <kj/refcount.h>
#include <kj/timer.h>

#include <string>

#include "orch/schema/store.capnp.h"

namespace orch::testing {

class MemoryStore final {
 public:
  explicit MemoryStore(uint32_t maxOps = 1000, uint64_t maxBytes = 4 << 20);
  ~MemoryStore() noexcept(false);

  // It says that other hosts reach it, too, and where it is.
  void share(std::string uri = {});
  // Any number of them share the state; it lives as long as the last.
  schema::Store::Client client();
  // A commit takes `sync` from now on: it is durable after most of that time, and answered after
  // all of it. `timer` lives as long as the store's calls.
  void setDisk(kj::Timer& timer, kj::Function<kj::Duration()> sync);
  // Whoever uses it is gone at once: what is not durable is lost, and no client that was handed out
  // is answered any more.
  void crash();
  // Told of every batch when it is applied, before it is answered.
  struct Written {
    kj::StringPtr kind;
    kj::StringPtr key;
    kj::Maybe<kj::ArrayPtr<const kj::byte>> value;  // nothing: it was removed
  };
  void observe(kj::Function<void(kj::ArrayPtr<const Written>)> observer);
  // Followers get nothing more, as after a restart.
  void dropFollowers();
  // While they are held, followers are told nothing; it is not lost.
  void holdFollowers(bool holds);
  // Who follows from before has to read the state again.
  void forgetRecords();

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
  void holdElections(bool holds);  // that somebody may win
  // All calls fail with DISCONNECTED, and change nothing, until `reconnect`.
  void disconnect();
  void reconnect();
  // Applied so far.
  uint64_t commits() const;
  uint64_t elections() const;  // also those that were only to ask
  uint64_t loads() const;      // that were asked for
  uint64_t objectsWritten() const;
  size_t objects(kj::StringPtr kind) const;  // that there are
  std::string allValues() const;             // one after another: whether something is in any
  uint64_t epoch() const;
  uint64_t largestBatch() const;

  struct State;

 private:
  kj::Own<State> state;
};

}  // namespace orch::testing
