// Published ports that a node does not answer on, though it is asked to: it says so in its
// description.
#pragma once

#include <string>
#include <vector>

#include "state/view.h"

namespace orch::control::manager {

// In whole sentences, of one node; and of the ports of one service, on all nodes that are there.
std::vector<std::string> unansweredOn(schema::Node::Reader node);
std::vector<std::string> unansweredOf(const View& view, schema::ServiceSpec::Reader spec);

}  // namespace orch::control::manager
