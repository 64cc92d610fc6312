// Networks as users ask for them: like service-requests.h.
#pragma once

#include "serve/service-requests.h"

namespace orch::control::manager {

// Of `spec` counts what a user can say; see objects.capnp. An empty driver is `overlay`.
Answer createNetwork(View& view, kj::StringPtr requestId, schema::Network::Reader spec);
// Fails while a service or a task has it.
Answer removeNetwork(View& view, kj::StringPtr requestId, kj::StringPtr typed);

}  // namespace orch::control::manager
