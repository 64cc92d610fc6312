// The way of an image from one node to another: through this manager, in small parts, since nodes
// have connections to managers only.
#pragma once

#include "orch/env.h"
#include "orch/schema/agent.capnp.h"
#include "orch/semaphore.h"

namespace orch::control::manager {

// Of all nodes together. With parts of 64 KiB that is 8 MiB of the manager's memory.
constexpr unsigned RELAYED_PARTS = 128;
// From one node: its heartbeats share a connection with them.
constexpr unsigned PARTS_OF_NODE = 8;

// What the relays of one manager share; outlives them.
struct RelayPlaces {
  Semaphore all{RELAYED_PARTS, "too many parts of images wait already"_kj};
};

// The agent of a node that sends. Kept by its relays.
struct RelaySource final : public kj::Refcounted {
  RelaySource(schema::Agent::Client agent) : agent(kj::mv(agent)) {}
  schema::Agent::Client agent;
  Semaphore places{PARTS_OF_NODE, "too many nodes fetch images from this one already"_kj};
};

// Reads one image and nothing else of the node. `owner` keeps `places` and `env` alive.
schema::ImageReader::Client newImageRelay(kj::Own<kj::Refcounted> owner, Env& env,
                                          RelayPlaces& places, kj::Own<RelaySource> source,
                                          kj::StringPtr image);

}  // namespace orch::control::manager
