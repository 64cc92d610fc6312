// What a driver of networks is told, as plain values. Each fails with a text that says what is
// wrong with it, before anything has changed.
#pragma once

#include "book.h"
#include "orch/schema/network.capnp.h"

namespace orch::network::overlay {

// Empty for a network that is none of this driver's.
std::optional<NetworkFacts> factsOf(schema::Network::Reader network);
// `ownNode`: the id of the node whose tasks are on no other host.
Peer peerOf(schema::NetworkPeer::Reader peer, const std::string& ownNode);
// The address of a node, with or without a port; 0 if it is empty.
Ipv4 hostOf(kj::StringPtr nodeAddress);
VirtualService serviceOf(schema::NetworkService::Reader service);
Leg legOf(schema::LegRequest::Reader request);

}  // namespace orch::network::overlay
