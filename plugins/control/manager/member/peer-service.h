// What a plugin has for other hosts: a function decides who gets what.
#pragma once

#include <kj/function.h>

#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

// `open` gets a capability for the peer, or fails.
schema::PeerService::Client newPeerService(
    kj::Function<capnp::Capability::Client(schema::Peer::Reader)> open);

}  // namespace orch::control::manager
