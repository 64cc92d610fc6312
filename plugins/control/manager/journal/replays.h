// `orch replay`: reads the manager's own journal and has it decided again.
#pragma once

#include "serve/cluster-server.h"

namespace orch::control::manager {

class Replays final {
 public:
  explicit Replays(ClusterParts& parts) : parts(parts) {}
  KJ_DISALLOW_COPY(Replays);

  using ReplayContext = capnp::CallContext<schema::ClusterControl::ReplayParams,
                                           schema::ClusterControl::ReplayResults>;
  Task<void> replay(ReplayContext context);

 private:
  ClusterParts& parts;
  bool busy = false;  // the state is in memory twice meanwhile
};

}  // namespace orch::control::manager
