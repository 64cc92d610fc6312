// Programs that somebody runs in the containers of tasks, and looks on: from the task that he named
// to the agent of its node.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "session/sessions.h"

namespace orch::control::manager {

// The task that is meant by `web.1`, an id or the beginning of one, or the name of a service that
// has just one task that runs. Of two tasks of a slot the newest that runs. Fails unless it runs.
std::string resolveRunning(const View& view, kj::StringPtr typed);

class TaskPrograms final {
 public:
  // `owner` is kept by what is handed out.
  TaskPrograms(kj::Refcounted& owner, Env& env, Host& host, Manager& manager, Sessions& sessions)
      : owner(owner), env(env), host(host), manager(manager), sessions(sessions) {}

  // Part of `cluster`; see sdk/schema/cluster.capnp.
  using Cluster = schema::ClusterControl;
  Task<void> exec(capnp::CallContext<Cluster::ExecParams, Cluster::ExecResults> context);

 private:
  struct Target {
    std::string taskId, name, nodeId;
    kj::String node;
    schema::Agent::Client agent;
    kj::String lost;  // what is said if the node is
  };
  Target find(kj::StringPtr typed);
  // Fails if the session of its node is over before.
  template <typename T>
  kj::Promise<T> whileInSession(const Target& target, kj::Promise<T> call);

  kj::Refcounted& owner;
  Env& env;
  Host& host;
  Manager& manager;
  Sessions& sessions;
};

}  // namespace orch::control::manager
