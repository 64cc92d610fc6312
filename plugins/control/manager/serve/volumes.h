// Volumes lie on nodes, and the state knows nothing of them: the agents are asked, as for logs.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "session/sessions.h"

namespace orch::control::manager {

class VolumeQueries final {
 public:
  VolumeQueries(Env& env, Manager& manager, Sessions& sessions)
      : env(env), manager(manager), sessions(sessions) {}

  // Part of `cluster`; see sdk/schema/cluster.capnp. A node that does not answer within ten seconds
  // is missing.
  using Cluster = schema::ClusterControl;
  using ListContext = capnp::CallContext<Cluster::VolumesParams, Cluster::VolumesResults>;
  using RemoveContext =
      capnp::CallContext<Cluster::RemoveVolumeParams, Cluster::RemoveVolumeResults>;
  using PruneContext =
      capnp::CallContext<Cluster::PruneVolumesParams, Cluster::PruneVolumesResults>;
  Task<void> list(ListContext context);
  Task<void> remove(RemoveContext context);
  Task<void> prune(PruneContext context);

 private:
  // What the nodes that have a session answer to `make(agent)`, and why others do not.
  template <typename Results>
  struct Answers;
  template <typename Results, typename Make>
  Task<Answers<Results>> ask(Make make);

  Env& env;
  Manager& manager;
  Sessions& sessions;
};

}  // namespace orch::control::manager
