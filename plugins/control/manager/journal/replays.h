// `orch replay`: reads the manager's own journal, or one that it is given, and has it decided
// again.
#pragma once

#include "journal/replay.h"
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
  Task<void> takeOwn(Replay& again);
  Task<void> takeFile(Replay& again, capnp::Data::Reader file);

  ClusterParts& parts;
  bool busy = false;  // the state is in memory twice meanwhile
};

}  // namespace orch::control::manager
