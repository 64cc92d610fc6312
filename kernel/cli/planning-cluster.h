// Stands in for the cluster while a command is planned: what would change something is collected
// and answered as if it had been done, everything else is asked of the cluster itself.
#pragma once

#include <capnp/message.h>

#include <vector>

#include "orch/schema/cluster.capnp.h"

namespace orch::cli {

class PlannedChanges final {
 public:
  schema::PlannedChange::Builder add();
  size_t size() const { return changes.size(); }
  void fill(capnp::List<schema::PlannedChange>::Builder list);

 private:
  std::vector<kj::Own<capnp::MallocMessageBuilder>> changes;
};

// `changes` outlives it.
schema::ClusterControl::Client newPlanningCluster(schema::ClusterControl::Client cluster,
                                                  PlannedChanges& changes);

}  // namespace orch::cli
