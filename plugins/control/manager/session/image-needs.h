// Which images are needed, and where.
#pragma once

#include <string>

#include "orch/schema/agent.capnp.h"
#include "state/state.h"

namespace orch::control::manager {

// Whether a task of the node is to run the image of that digest.
bool runsImage(const State& state, const std::string& nodeId, kj::StringPtr digest);
// What images may take on each node, and those that no node may lose for that: a service has them,
// or had them before its last update.
void fillImageLimit(const State& state, schema::Session::ImageLimitResults::Builder results);

}  // namespace orch::control::manager
