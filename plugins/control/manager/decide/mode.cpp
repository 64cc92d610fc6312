#include "decide/mode.h"

#include <algorithm>

namespace orch::control::manager {

const Mode* modeOf(schema::ServiceSpec::Reader spec) {
  switch (spec.getMode().which()) {
    case schema::ServiceSpec::Mode::REPLICATED:
      return &REPLICATED;
    case schema::ServiceSpec::Mode::GLOBAL:
      return &GLOBAL;
    case schema::ServiceSpec::Mode::REPLICATED_JOB:
      return &REPLICATED_JOB;
    case schema::ServiceSpec::Mode::GLOBAL_JOB:
      return &GLOBAL_JOB;
  }
  return nullptr;
}

bool isExpected(Claim claim, const Slot& slot) {
  if (claim != Claim::KEPT) return claim == Claim::WANTED;
  return std::any_of(slot.tasks.begin(), slot.tasks.end(), [](auto& task) {
    return isWanted(task) && isAssigned(task) && !isTerminal(task);
  });
}

}  // namespace orch::control::manager
