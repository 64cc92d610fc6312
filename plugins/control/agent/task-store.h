// The durable set of this node's tasks, and the leader that it follows, in a store of the node's
// own. Writes that queue up while one is under way go together in the next.
#pragma once

#include <capnp/common.h>
#include <kj/async.h>

#include <map>
#include <string>
#include <vector>

#include "orch/host.h"
#include "orch/store-client.h"
#include "task-record.h"

namespace orch::control::agent {

// A word of the managers on networks, see network-plan.h.
inline constexpr kj::StringPtr PLAN_PREFIX = "plan/"_kj;
struct StoredPlan {
  std::string key;  // PLAN_PREFIX and more
  kj::Array<capnp::word> assignment;
};

// It is the only writer of its store. What could not be written is kept and goes with the next
// write; what became of a commit without an answer is read from the store before that.
class TaskStore final {
 public:
  TaskStore(Env& env, Log& log, schema::Store::Client store);
  KJ_DISALLOW_COPY(TaskStore);

  struct Loaded {
    std::vector<kj::Own<TaskRecord>> records;
    std::vector<StoredPlan> plan;
    uint64_t leaderEpoch = 0;
    std::string cluster;  // whose epoch it is
  };
  // Once, before anything else. Fails with the store's own words if an object is damaged.
  Task<Loaded> load();
  // Settle when the state at the time of the call, or a later one, is durable.
  kj::Promise<void> save(TaskRecord& record);
  kj::Promise<void> saveEpoch(uint64_t leaderEpoch, kj::StringPtr cluster);
  kj::Promise<void> savePlan(const std::string& key, kj::ArrayPtr<const kj::byte> assignment);
  kj::Promise<void> erase(kj::StringPtr id);  // of a task, or of a plan
  // For a state that nothing waits for. A failure is logged: what is not durable was not started
  // yet, or is found again in the runtime.
  void saveSoon(TaskRecord& record);
  // Settle when all that was to be saved of it is durable: at once, mostly.
  kj::Promise<void> whenDurable(kj::StringPtr id) { return durable(id.cStr()); }
  kj::Promise<void> whenEpochDurable();

 private:
  struct Change {
    kj::Maybe<kj::Array<kj::byte>> value;  // nothing: erase
    std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  };
  using Changes = std::map<std::string, Change>;

  kj::Promise<void> enqueue(std::string key, kj::Maybe<kj::Array<kj::byte>> value);
  kj::Promise<void> durable(const std::string& key);
  void write();
  Task<void> writeAll();
  Task<CommitOutcome> commit(std::vector<Changes::iterator> batch);
  void settle(Changes::iterator change, const CommitOutcome& outcome);
  Task<void> refresh();

  Log& log;
  StoreClient store;
  StoreLimits limits;
  uint64_t epoch = 0;  // of the store
  std::map<std::string, uint64_t> revisions;
  Changes pending;     // what failed as well, without its waiters
  Changes current;     // in the commits under way
  bool asked = false;  // since they began
  bool writing = false;
  bool stale = false;  // `revisions` may be behind
  kj::Promise<void> writer = kj::READY_NOW;
};

}  // namespace orch::control::agent
