// Tasks without their specs, for those who want to see all of them: a hundredth of what
// `/v1/tasks` says.
#pragma once

#include <capnp/message.h>

#include <string>

#include "orch/schema/objects.capnp.h"

namespace orch::api::http {

// An array of objects, one in a line: id, service, slot, node (id), state, desired, atNs, restarts,
// and if there are any health and message, which is the error if there is one. `all`: ended tasks
// that are kept as history too; else of these only one that failed and was not replaced.
std::string taskRows(capnp::List<schema::Task>::Reader tasks, bool all);

}  // namespace orch::api::http
