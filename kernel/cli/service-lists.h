// The flags of a service that may be given more than once.
#pragma once

#include "arguments.h"
#include "entry.h"

namespace orch::cli {

// Part of applyOptions (service-spec.h). On update, first removes, then adds; what is added
// replaces what has the same key. Removing what is not there does nothing: see service-removals.h.
void applyLists(const Arguments& args, schema::ServiceSpec::Builder spec, const LookUp& lookUp);

}  // namespace orch::cli
