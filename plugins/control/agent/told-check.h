// What of networks and other nodes' ports a node was told, against what a manager would tell it
// now. Pure.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "orch/schema/agent.capnp.h"
#include "orch/schema/network.capnp.h"

namespace orch::control::agent {

// One thing as people see it.
struct ToldThing {
  std::string network;  // id; empty: published ports
  std::string object;   // `peer web.1`
  std::string what;     // all that tells it from another state of its own
};
using ToldThings = std::map<std::string, ToldThing>;  // by kind and id

// Adds it. A node that nobody is sent to is no thing: one may stay told that has nothing any more.
void note(schema::Network::Reader network, ToldThings& things);
void note(schema::NetworkPeer::Reader peer, ToldThings& things);
void note(schema::NetworkService::Reader service, ToldThings& things);
void note(schema::MeshNode::Reader node, ToldThings& things);
// Of these, those that are of networks and other nodes.
ToldThings thingsOf(capnp::List<schema::Assignment>::Reader expected);

struct ToldFinding {
  ToldThing thing;  // `what` is what is expected
  std::string found;
};
// Of one network, by its id, or of all.
std::vector<ToldFinding> compareTold(const ToldThings& expected, const ToldThings& told,
                                     const std::string& network, uint32_t& things);

}  // namespace orch::control::agent
