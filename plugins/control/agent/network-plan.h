// What the managers have said of networks that span hosts, kept in the node's store: a node that
// starts while no manager can be reached goes by it. It is told as the plugins are that carry it
// out; what changes within a second is one commit.
#pragma once

#include <capnp/message.h>

#include <map>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/task.h"
#include "task-store.h"

namespace orch::control::agent {

class NetworkPlan final {
 public:
  NetworkPlan(Env& env, TaskStore& store) : env(env), store(store) {}
  KJ_DISALLOW_COPY(NetworkPlan);

  // What the last run left. Until `take` it is there to go by.
  void adopt(std::vector<StoredPlan> stored);
  // Each an Assignment; none if a manager has been heard of since.
  std::vector<StoredPlan> take();

  // As NetworkTables.update; `change` outlives the task. Settles a while after it is durable.
  Task<void> update(schema::NetworkChange::Reader change);
  // There are no networks any more.
  void clear();

 private:
  // Settles when it is durable; at once if nothing has changed.
  kj::Promise<void> put(const std::string& key, capnp::MessageBuilder& assignment);
  kj::Promise<void> erase(const std::string& key);

  Env& env;
  TaskStore& store;
  std::map<std::string, uint64_t> digests;  // of what the store has, by key
  std::vector<StoredPlan> left;             // by the last run
};

}  // namespace orch::control::agent
