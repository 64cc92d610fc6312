// The flags of `service update` that take something away.
#pragma once

#include "arguments.h"
#include "orch/schema/objects.capnp.h"

namespace orch::cli {

// Fails with what there is if a `--…-rm` names nothing in `spec`, which is what the service was.
void checkRemovals(const Arguments& args, schema::ServiceSpec::Reader spec);

}  // namespace orch::cli
