// The service `contact` of a worker (trust.capnp).
#pragma once

#include "orch/host.h"
#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

// For a peer at the node's port. Fails for one that does not manage. `host` outlives it, by
// `owner`.
schema::Contact::Client newContact(kj::Own<kj::Refcounted> owner, Host& host,
                                   schema::Peer::Reader peer);

}  // namespace orch::control::manager
