// Programs that somebody runs in the containers of tasks, and looks on: from the task that he named
// to the agent of its node.
#pragma once

#include <kj/function.h>

#include "orch/schema/cluster.capnp.h"
#include "session/sessions.h"

namespace orch::control::manager {

// The task that is meant by `web.1`, an id or the beginning of one, or the name of a service that
// has just one task that runs. Of two tasks of a slot the newest that runs. Fails unless it runs.
std::string resolveRunning(const View& view, kj::StringPtr typed);
// Whether it has a container that somebody can look into: one that is not healthy yet, too.
bool mayRun(const TaskReader& task);

class TaskPrograms final {
 public:
  // `owner` is kept by what is handed out.
  TaskPrograms(kj::Refcounted& owner, Env& env, Host& host, Manager& manager, Sessions& sessions)
      : owner(owner), env(env), host(host), manager(manager), sessions(sessions) {}

  // Part of `cluster`; see sdk/schema/cluster.capnp.
  using Cluster = schema::ClusterControl;
  Task<void> exec(capnp::CallContext<Cluster::ExecParams, Cluster::ExecResults> context);
  Task<void> attach(capnp::CallContext<Cluster::AttachParams, Cluster::AttachResults> context);
  Task<void> processes(
      capnp::CallContext<Cluster::ProcessesParams, Cluster::ProcessesResults> context);

 private:
  struct Target {
    std::string taskId, name, nodeId;
    kj::String node;
    schema::Agent::Client agent;
    kj::String lost;  // what is said if the node is
  };
  Target find(kj::StringPtr typed);
  // Until the session of its node is over. `onEnd` is told of its end: the exit code, or `unknown`
  // and why. The core is there until then.
  using OnEnd = kj::Function<void(kj::StringPtr code, kj::StringPtr error)>;
  schema::RunningProgram::Client relay(Target& target, schema::RunningProgram::Client running,
                                       OnEnd onEnd);
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
