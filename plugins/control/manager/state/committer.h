// From a pass's changes to the store: cut into batches that each leave a valid state, committed one
// after the other.
#pragma once

#include "orch/env.h"
#include "orch/schema/store.capnp.h"
#include "state/state.h"

namespace orch::control::manager {

using Op = std::pair<Key, Change>;
using Batch = std::vector<Op>;

struct StoreLimits {
  size_t maxOps = 0;
  size_t maxBytes = 0;
};

// A service comes before its tasks and together with the request that changed it; what happens to
// one slot stays together. A unit larger than the limits is split after all, since every order of
// these is a valid state, only less tidy.
std::vector<Batch> cutBatches(std::map<Key, Change> changes, const State& state,
                              StoreLimits limits);

struct CommitOutcome {
  enum class Kind {
    COMMITTED,
    FAILED,    // nothing was changed; may be tried again
    CONFLICT,  // somebody else changed the state: load it again
    DEPOSED,   // the store has a higher epoch
    LOST       // it is not known whether it was applied: load the state again
  };
  Kind kind = Kind::FAILED;
  uint64_t revision = 0;
  kj::String reason;
};

class Committer final {
 public:
  // `timeout`: how long an unknown outcome is asked for.
  Committer(Env& env, kj::Duration timeout) : env(env), store(nullptr), timeout(timeout) {}
  // Before the first commit.
  void connect(schema::Store::Client client) { store = kj::mv(client); }

  // Never fails. Both must outlive the task.
  Task<CommitOutcome> commit(const Batch& batch, const State& state, uint64_t epoch);

 private:
  Task<CommitOutcome> findOut(kj::String batchId, kj::String reason);

  Env& env;
  schema::Store::Client store;
  kj::Duration timeout;
};

}  // namespace orch::control::manager
