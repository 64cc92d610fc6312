// What consul answers, as the values that templates know. Pure: the names of fields are those of
// consul-template. Fails, with a text that begins with "answers ", on what no consul answers.
#pragma once

#include <string>
#include <string_view>

#include "language/value.h"
#include "query.h"

namespace orch::integration::templates {

// The path that asks for it, without an index. Of a NODE without a name: the agent's own name.
std::string consulPath(const Query& query);
// What Source says of the query's kind; `found` is false if consul answered 404. The tags of
// services are sorted, and so are lists, unless the query has `near`.
Value readAnswer(const Query& query, std::string_view body, bool found);
// The name of the agent's node, from what it says of itself.
std::string readAgentNode(std::string_view body);

}  // namespace orch::integration::templates
