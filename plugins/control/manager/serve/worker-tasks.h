// The tasks of a worker, as its agent has them, whether a manager can be reached or not: found by
// what users call them, looked at, and programs run in them.
#pragma once

#include <string>
#include <vector>

#include "member/membership.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/task.h"

namespace orch::control::manager {

class LogMerge;

struct WorkerParts {
  Env& env;
  Host& host;
  Membership& members;
  kj::StringPtr agent;  // the service of this node's agent
};

class WorkerTasks final {
 public:
  using Cluster = schema::ClusterControl;
  template <typename Params, typename Results>
  using Call = capnp::CallContext<Params, Results>;

  explicit WorkerTasks(WorkerParts parts) : parts(kj::mv(parts)) {}

  // Why something is not answered here, and by whom it is.
  kj::String onlyManagersKnow() const;
  // Of this node alone; what the managers know of it is not there.
  void describeNode(Call<Cluster::NodeParams, Cluster::NodeResults> context);
  Task<void> list(Call<Cluster::TasksParams, Cluster::TasksResults> context);
  Task<void> inspect(Call<Cluster::TaskParams, Cluster::TaskResults> context);
  // Of a service, of those of its tasks that are here now.
  Task<void> logs(Call<Cluster::LogsParams, Cluster::LogsResults> context);
  Task<void> exec(Call<Cluster::ExecParams, Cluster::ExecResults> context);
  Task<void> attach(Call<Cluster::AttachParams, Cluster::AttachResults> context);
  Task<void> processes(Call<Cluster::ProcessesParams, Cluster::ProcessesResults> context);
  Task<void> usage(Call<Cluster::UsageParams, Cluster::UsageResults> context);

 private:
  using Answer = capnp::Response<schema::Agent::TasksResults>;
  struct One {
    std::string id;
    std::string name;  // web.1
  };
  bool isThisNode(kj::StringPtr typed) const;
  schema::Agent::Client agent();
  Task<Answer> ask();
  // The tasks of a service, or those with that name or beginning of an id. Fails if there are none.
  std::vector<schema::Task::Reader> found(const Answer& answer, kj::StringPtr typed) const;
  // Of these the one that runs; of a slot the newest.
  Task<One> running(kj::String typed);
  Task<void> read(LogMerge& merge, std::string id, schema::LogOptions::Reader options);

  WorkerParts parts;
};

}  // namespace orch::control::manager
