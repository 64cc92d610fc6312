// Tasks in rows, as `docker service ps` shows them.
#pragma once

#include <map>
#include <string>

#include "arguments.h"
#include "connection.h"
#include "filter.h"
#include "listing.h"
#include "orch/schema/cluster.capnp.h"
#include "output.h"

namespace orch::cli {

// The names of nodes by their ids.
using NodeNames = std::map<std::string, std::string>;
NodeNames nodeNames(capnp::List<schema::Node>::Reader nodes);
// Of all nodes; of a worker its own, and a line on stderr that there is more elsewhere.
Task<NodeNames> knownNodes(Context& context);
// The id itself if the node is not known.
kj::String nodeName(const NodeNames& names, kj::StringPtr id);

#define ORCH_TASK_OPTIONS                                                            \
  {"-f,--filter", "FILTER",                                                          \
   "Only what matches: id=, name= (or how it begins), node=, desired-state=", true}, \
      {"--no-resolve", nullptr, "Show ids of nodes instead of their names"}, ORCH_LIST_OPTIONS

// The filters of the options above.
Filters taskFilters(const Arguments& args);
// Prints `tasks` as the options above say: those of a slot together, newest first, older ones
// indented behind `\_`.
Task<void> printTasks(Context& context, const Filters& filters,
                      kj::Vector<schema::Task::Reader> tasks);

}  // namespace orch::cli
