// How far a node is that is being emptied.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "state/view.h"

namespace orch::control::manager {

void describeNodeProgress(const View& view, std::string_view nodeId,
                          schema::NodeProgress::Builder progress);

}  // namespace orch::control::manager
