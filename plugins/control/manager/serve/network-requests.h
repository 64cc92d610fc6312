// Networks as users ask for them: like service-requests.h.
#pragma once

#include "serve/service-requests.h"

namespace orch::control::manager {

// Of `spec` counts what a user can say; see objects.capnp. An empty driver is `overlay`.
Answer createNetwork(View& view, kj::StringPtr requestId, schema::Network::Reader spec);
// What networks get their subnets of from now on; empty and 0: what it is.
void setAddressPools(View& view, capnp::List<capnp::Text>::Reader pools, uint8_t prefix);
// Fails while a service or a task has it.
Answer removeNetwork(View& view, kj::StringPtr requestId, kj::StringPtr typed);
// Of these, those that no service and no task has; their names.
std::vector<std::string> pruneNetworks(View& view, kj::StringPtr requestId,
                                       capnp::List<capnp::Text>::Reader ids);

}  // namespace orch::control::manager
