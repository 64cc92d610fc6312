// What a service's mode asks for: which slots it should have. Nothing else knows of replicas. Pure.
#pragma once

#include "decide/slot-rules.h"

namespace orch::control::manager {

// At most MAX_CHANGED_PER_PASS of both.
struct SlotPlan {
  std::vector<SlotKey> missing;          // to fill
  std::vector<const Slot*> superfluous;  // to remove
  bool unfinished = false;               // there are more
};

struct Mode {
  kj::StringPtr name;  // as users write it
  // How many tasks should run.
  uint32_t (*desired)(const View& view, schema::ServiceSpec::Reader spec);
  // `occupied`: the slots that are live or done.
  SlotPlan (*plan)(const View& view, schema::ServiceSpec::Reader spec,
                   const std::vector<const Slot*>& occupied);
};
// Null: a mode that this version does not have. Such a service is refused, and left alone if a
// later version made it.
const Mode* modeOf(schema::ServiceSpec::Reader spec);

// As many slots as the service has replicas: new ones at the lowest free numbers, surplus ones
// removed so that the nodes stay balanced.
extern const Mode REPLICATED;

}  // namespace orch::control::manager
