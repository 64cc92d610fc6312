// The flags of a service that may be given more than once.
#pragma once

#include "arguments.h"
#include "entry.h"

namespace orch::cli {

// Part of applyOptions (service-spec.h). On update, first removes, then adds; what is added
// replaces what has the same key, and removing what is not there is no error, as with docker.
void applyLists(const Arguments& args, schema::ServiceSpec::Builder spec, const LookUp& lookUp);

}  // namespace orch::cli
