// What this node tells the managers of itself.
#pragma once

#include "orch/host.h"
#include "orch/schema/objects.capnp.h"

namespace orch::control::agent {

// Hardware, kernel and labels. Reads /proc: blocks shortly.
void describeHost(const NodeFacts& facts, schema::NodeDescription::Builder description);

}  // namespace orch::control::agent
