// The way out that a task has beside its legs, by the network of its node: closed for a task that
// is on internal networks alone. Blocking: for worker threads in the node's network namespace.
#pragma once

#include "leg.h"
#include "lib/rtnetlink.h"

namespace orch::network::overlay {

// NONE: both ends of the device are down, so that nothing that runs in the task's namespace opens
// it again. ANSWERS: a table in the namespace drops what would begin a connection there, and IPv6
// is off; a task with CAP_NET_ADMIN could take the table away. May be repeated. OPEN changes
// nothing.
void closeWayOut(WayOut left, int taskNamespace, Rtnetlink& inside, const Step& step);

// Whether it is so; in the task's namespace. Reads only.
bool isClosed(WayOut left, Rtnetlink& inside);

}  // namespace orch::network::overlay
