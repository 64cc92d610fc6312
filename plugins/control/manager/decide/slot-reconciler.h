// Fills the slots that a service's mode asks for and removes those that it does not.
#pragma once

#include "decide/mode.h"

namespace orch::control::manager {

// The service's mode must be known.
Step reconcileSlots(View& view, schema::Service::Reader service, const Slots& slots);

}  // namespace orch::control::manager
