// What a node did by itself while it was cut off becomes part of the cluster's state, where nobody
// has decided otherwise meanwhile. Pure.
#pragma once

#include "orch/schema/agent.capnp.h"
#include "state/view.h"

namespace orch::control::manager {

// Whether `restart.next` is a task of the cluster afterwards. It is not if the one that ended was
// replaced already, is not wanted any more, or is none of that node. Of the node's word only the
// id, the times and the statuses count: what runs is what the task that ended was made of.
bool takeLocalRestart(View& view, std::string_view nodeId, schema::LocalRestart::Reader restart);

}  // namespace orch::control::manager
