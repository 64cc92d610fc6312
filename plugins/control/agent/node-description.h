// What this node tells the managers of itself.
#pragma once

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/objects.capnp.h"

namespace orch::control::agent {

// Hardware and labels. Reads /proc: blocks shortly.
void describeHost(Env& env, const NodeFacts& facts, schema::NodeDescription::Builder description);

}  // namespace orch::control::agent
