// What a service's mode asks for: which slots it should have. Nothing else knows of replicas. Pure.
#pragma once

#include "decide/slot-rules.h"

namespace orch::control::manager {

// What a mode says of one slot.
enum class Claim : uint8_t {
  WANTED,  // a task should run in it
  KEPT,    // what runs in it goes on, but nothing new begins
  AWAY,    // its node is not there: what it has stays for when that is back, and counts for nothing
  UNWANTED,  // nothing should run in it; what became of its tasks is remembered
  GONE       // nor is there anything to remember
};

// At most MAX_CHANGED_PER_PASS of both.
struct SlotPlan {
  std::vector<SlotKey> missing;          // to fill
  std::vector<const Slot*> superfluous;  // to empty
  bool unfinished = false;               // there are more
  bool wantsAll = false;                 // it is none: see Step
};

struct Mode {
  kj::StringPtr name;  // as users write it
  // How many tasks should run.
  uint32_t (*desired)(const View& view, schema::Service::Reader service);
  Claim (*claim)(const View& view, schema::Service::Reader service, const SlotKey& key);
  // `occupied`: those of the slots that are live or done. The settled ones are live.
  SlotPlan (*plan)(const View& view, schema::Service::Reader service, const Slots& slots,
                   const std::vector<const Slot*>& occupied);
  bool job = false;  // its tasks end, and are made in runs (job-run.h)
};
// Null: a mode that this version does not have. Such a service is refused, and left alone if a
// later version made it.
const Mode* modeOf(schema::ServiceSpec::Reader spec);

// Whether the slot is one of those that should run, and by what the mode claims of it.
bool isExpected(Claim claim, const Slot& slot);

// As many slots as the service has replicas: new ones at the lowest free numbers, surplus ones
// removed so that the nodes stay balanced.
extern const Mode REPLICATED;
// One slot for each node that meets the constraints and is not drained. A paused node keeps the
// task that it has, and a drained one as long as it has tasks of other services; one that is down
// has none elsewhere in its place.
extern const Mode GLOBAL;
// While a run is under way, slots from 1 up to the number of completions, so many at a time. A slot
// that has completed, or was given up, is not filled again in that run.
extern const Mode REPLICATED_JOB;
// The same of one slot on each node on which a global service has one.
extern const Mode GLOBAL_JOB;

}  // namespace orch::control::manager
