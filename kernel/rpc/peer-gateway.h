// What one host of the cluster may reach on this node: the services that plugins have for others.
#pragma once

#include "kernel/log/limited-log.h"
#include "kernel/rpc/registry.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::rpc {

// Of the gateway, as `version` answers it.
constexpr uint32_t API_VERSION = 1;

// For an admin: `whole`, if the service `admin`, asked when `ready` settles, lets it in, and for as
// long as that says so; of `ofPeer` it has `renewal` beside it.
schema::Gateway::Client newAdminGateway(kj::Promise<void> ready, schema::Gateway::Client ofPeer,
                                        schema::Gateway::Client whole);

// One per connection. `registry` and `refusals` outlive it.
schema::Gateway::Client newPeerGateway(Registry& registry, log::Refusals& refusals,
                                       const std::string& nodeName, schema::Peer::Reader peer);

}  // namespace orch::rpc
