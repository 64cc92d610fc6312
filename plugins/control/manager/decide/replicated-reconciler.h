// As many slots as the service has replicas: new ones at the lowest free numbers, surplus ones
// removed so that the nodes stay balanced.
#pragma once

#include "decide/slot-rules.h"

namespace orch::control::manager {

// Tasks that one pass creates for one service at most; the rest comes with the next pass.
inline constexpr uint32_t MAX_CREATED_PER_PASS = 2000;

struct Replication {
  bool changed = false;
  bool unfinished = false;  // more to create: look again in the next pass
};
Replication reconcileReplicas(View& view, schema::Service::Reader service, const Slots& slots);

}  // namespace orch::control::manager
