// A store as its users call it: loads, cuts what is to be written into batches, commits, and asks
// what became of a commit whose answer was lost.
#pragma once

#include <kj/function.h>

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/store.capnp.h"

namespace orch {

struct StoreLimits {
  size_t maxOps = 0;
  size_t maxBytes = 0;
  bool shared = false;  // with other hosts
  std::string uri;  // which servers have the state, see store.capnp; empty: none that have a name
};

// Borrows all of it.
struct StoreOp {
  kj::StringPtr kind;
  kj::StringPtr key;
  uint64_t expected = 0;                          // the object's revision; 0: must not exist
  kj::Maybe<kj::ArrayPtr<const kj::byte>> value;  // nothing: removal
};
// What an operation takes of a batch, about: its content, kind, key, framing.
constexpr size_t STORE_OP_BYTES = 128;

struct CommitOutcome {
  enum class Kind {
    COMMITTED,
    FAILED,    // nothing was changed; may be tried again
    CONFLICT,  // somebody else changed an object: load again
    DEPOSED,   // the store has a higher epoch
    LOST       // it is not known whether it was applied: load again
  };
  Kind kind = Kind::FAILED;
  uint64_t revision = 0;
  kj::String reason;
  bool unanswered = false;  // what became of it had to be looked up
};

class StoreClient final {
 public:
  // `timeout`: how long an unknown outcome is asked for.
  StoreClient(Env& env, schema::Store::Client store, kj::Duration timeout)
      : env(env), store(kj::mv(store)), timeout(timeout) {}
  KJ_DISALLOW_COPY(StoreClient);

  Task<StoreLimits> limits();
  struct Loaded {
    uint64_t revision = 0;
    uint64_t epoch = 0;
  };
  // Hands every object to `take`, which is not called any more once the task is over or dropped. An
  // exception of `take` fails the load. A damaged object fails it, too, in the store's own words.
  Task<Loaded> load(kj::Function<void(schema::StoredObject::Reader)> take);
  // Who leads: what it called itself when it was elected.
  struct Lead {
    uint64_t epoch = 0;
    std::string leader;  // empty: nobody ever has
  };
  Task<Lead> lead();
  // The epoch that `candidate` leads by, if nobody was elected since `expectedEpoch`; else who was.
  struct Election {
    bool won = false;
    Lead lead;
  };
  // It is more than `expectedEpoch`, and at least `leastEpoch`.
  Task<Election> elect(std::string candidate, uint64_t expectedEpoch, uint64_t leastEpoch = 0);
  // Those that the store runs itself; nothing if it does not.
  Task<kj::Maybe<schema::StoreServers::Client>> servers();
  // Never fails. `ops` are not used any more when it returns.
  Task<CommitOutcome> commit(kj::ArrayPtr<const StoreOp> ops, uint64_t epoch);

 private:
  Task<CommitOutcome> finish(kj::Promise<capnp::Response<schema::Store::CommitResults>> sent,
                             kj::String batchId, uint64_t epoch);
  Task<CommitOutcome> findOut(kj::String batchId, kj::String reason);

  Env& env;
  schema::Store::Client store;
  kj::Duration timeout;
};

// What a change takes of a batch: its operations, and the bytes of their contents and keys.
struct StoreSize {
  size_t ops = 1;
  size_t bytes = 0;
};

// Cuts units of changes, in their order, into batches within the limits. A unit that is larger
// than a batch is split after all, a change never. `sizeOf(change)` answers a StoreSize.
template <typename Change, typename SizeOf>
std::vector<std::vector<Change>> cutIntoBatches(std::vector<std::vector<Change>> units,
                                                StoreLimits limits, SizeOf&& sizeOf) {
  std::vector<std::vector<Change>> batches;
  StoreSize used;
  auto add = [](StoreSize& sum, const StoreSize& more) {
    sum.ops += more.ops;
    sum.bytes += more.bytes + more.ops * STORE_OP_BYTES;
  };
  auto fits = [&](const StoreSize& more) {
    return !batches.empty() && used.ops + more.ops <= limits.maxOps &&
           used.bytes + more.bytes + more.ops * STORE_OP_BYTES <= limits.maxBytes;
  };
  for (auto& unit : units) {
    StoreSize whole{0, 0};
    for (auto& change : unit) {
      auto size = sizeOf(change);
      whole.ops += size.ops;
      whole.bytes += size.bytes;
    }
    bool together = fits(whole);
    for (auto& change : unit) {
      StoreSize size = sizeOf(change);
      bool begins = !together && &change == &unit.front();
      if (begins || !fits(size)) {
        batches.emplace_back();
        used = {0, 0};
      }
      add(used, size);
      batches.back().push_back(kj::mv(change));
    }
  }
  return batches;
}

}  // namespace orch
