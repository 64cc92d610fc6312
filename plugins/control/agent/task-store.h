// The durable set of this node's tasks, in a store of the node's own. Writes that queue up while
// one is under way go together in the next.
#pragma once

#include <kj/async.h>

#include <map>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/store.capnp.h"
#include "task-record.h"

namespace orch::control::agent {

class TaskStore final {
 public:
  TaskStore(Env& env, Log& log, schema::Store::Client store);
  KJ_DISALLOW_COPY(TaskStore);

  // Once, before anything else. Fails with the store's own words if an object is damaged.
  Task<std::vector<kj::Own<TaskRecord>>> load();
  // Settle when the state at the time of the call, or a later one, is durable.
  kj::Promise<void> save(TaskRecord& record);
  kj::Promise<void> erase(kj::StringPtr id);
  // For a state that nothing waits for. A failure is logged: what is not durable was not started
  // yet, or is found again in the runtime.
  void saveSoon(TaskRecord& record);

 private:
  struct Change {
    kj::Maybe<kj::Array<kj::byte>> value;  // nothing: erase
  };
  kj::Promise<void> enqueue(std::string key, Change change);
  void write();
  Task<void> writeAll();
  Task<uint64_t> commit(const std::map<std::string, Change>& changes);

  Env& env;
  Log& log;
  schema::Store::Client store;
  uint32_t maxOps = 1;
  uint64_t epoch = 0;
  std::map<std::string, uint64_t> revisions;
  std::map<std::string, Change> pending;
  kj::Own<kj::PromiseFulfiller<void>> pendingDone;
  kj::Maybe<kj::ForkedPromise<void>> pendingPromise;
  bool writing = false;
  kj::Promise<void> writer = kj::READY_NOW;
};

}  // namespace orch::control::agent
