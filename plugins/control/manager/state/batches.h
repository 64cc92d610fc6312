// A pass's changes as a store takes them: cut into batches that each leave a valid state.
#pragma once

#include "orch/store-client.h"
#include "state/state.h"

namespace orch::control::manager {

using Op = std::pair<Key, Change>;
using Batch = std::vector<Op>;

// A service comes before its tasks and together with the request that changed it; what happens to
// one slot stays together, and always what happens to one object: a task and its status. A unit
// larger than the limits is split after all, since every order of these is a valid state, only less
// tidy.
std::vector<Batch> cutBatches(std::map<Key, Change> changes, const State& state,
                              StoreLimits limits);
// Borrows from both.
std::vector<StoreOp> storeOps(const Batch& batch, const State& state);

}  // namespace orch::control::manager
