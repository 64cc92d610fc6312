// What orch says of its own tasks and nodes, as the values that templates know: under the names
// that consul's have. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "language/value.h"
#include "orch/schema/integration.capnp.h"
#include "query.h"

namespace orch::integration::templates {

using Labels = std::map<std::string, std::string>;

struct OrchNode {
  std::string name;     // the host name
  std::string address;  // that others reach it at; empty: unknown
  Labels labels;
};
using OrchNodes = std::map<std::string, OrchNode>;  // by id

// A task at one of its ports.
struct OrchEntry {
  std::string id;    // `web.1.ID:80`
  std::string name;  // the service's; with the port behind it if it publishes several
  std::string nodeId;
  std::string address;
  int64_t port = 0;  // 0: none is published
  std::vector<std::string> tags;
  Labels labels;  // of the service
};

// The label of a service that has its tags, with commas between them.
inline constexpr const char* TAGS_LABEL = "SERVICE_TAGS";

// Where others on the node `self` find the task: none if it is not to be found, as one that does
// not serve, or that is on a network of another node alone.
std::vector<OrchEntry> orchEntries(schema::TaskEntry::Reader fed, const OrchNodes& nodes,
                                   const std::string& self);

// Whether orch has an answer to such a question: it has no keys, and no data centers.
bool orchKnows(const Query& query);
// What Source says of the query's kind. `entries` in any order.
Value orchAnswer(const Query& query, const std::vector<OrchEntry>& entries, const OrchNodes& nodes,
                 const std::string& self);

}  // namespace orch::integration::templates
