// Fills the slots that a service's mode asks for and removes those that it does not.
#pragma once

#include "decide/mode.h"
#include "decide/reconciler.h"

namespace orch::control::manager {

// The service's mode must be known.
kj::Own<Reconciler> reconcileSlots(View& view, schema::Service::Reader service);

}  // namespace orch::control::manager
