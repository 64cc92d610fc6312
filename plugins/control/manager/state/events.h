// What the bus is told of a change that was committed: `service.created`, `task.running`,
// `node.down`. `before` is empty for a new object, `after` for one that is gone.
#pragma once

#include "orch/host.h"
#include "state/task-reader.h"

namespace orch::control::manager {

// What the message of a task begins with that was moved to even the nodes out, until its agent has
// it.
inline constexpr kj::StringPtr REBALANCED = "moved: "_kj;
inline bool isRebalanced(const TaskReader& task) {
  return task.getStatus().getMessage().startsWith(REBALANCED);
}

void publishTask(Host& host, const Snapshot& before, const Snapshot& after);
void publishService(Host& host, const Snapshot& before, const Snapshot& after);
void publishNetwork(Host& host, const Snapshot& before, const Snapshot& after);
void publishNode(Host& host, const Snapshot& before, const Snapshot& after);

// That a node is ready, down or unknown, and why; not all of it is stored.
void tellNodeState(Host& host, schema::Node::Reader node, schema::Node::State state,
                   kj::StringPtr reason);

// `running`, as in the topic `task.running` and on the command line.
kj::StringPtr stateName(schema::TaskState state);

}  // namespace orch::control::manager
