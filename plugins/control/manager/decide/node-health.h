// What becomes of nodes and of the reports of their agents. Pure.
#pragma once

#include "orch/schema/agent.capnp.h"
#include "state/view.h"

namespace orch::control::manager {

// Fails if a node tells of more tasks at once than any has.
void checkReported(size_t tasks);
// A node's agent is there: the node exists and looks like this.
void registerNode(View& view, std::string_view nodeId, schema::NodeDescription::Reader description);
constexpr size_t MAX_NODE_ID = 64;  // characters; and of a task's that is remembered
// Refuses what is no id, and a description that the store could not take. `maxBytes` of an object.
void checkDescription(std::string_view nodeId, schema::NodeDescription::Reader description,
                      size_t maxBytes);
// What follows from what was heard of the node: since when it is down, and that its tasks count as
// ended once that is `orphanAfterNs` ago. Answers when to look again.
int64_t reconcileNode(View& view, std::string_view nodeId, int64_t orphanAfterNs);

// Of a status: what is longer is cut.
inline constexpr size_t MAX_STATUS_BYTES = 16 << 10;

// Takes a report in. A state lower than the known one is ignored; of one that is larger than that
// what can be cut is cut, and says so. False if there is no such task on that node: its container
// is nobody's.
bool mergeReport(View& view, std::string_view nodeId, schema::TaskReport::Reader report);

}  // namespace orch::control::manager
