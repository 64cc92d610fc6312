// What the service `cluster` answers of networks: of those that users made, and of the nodes' own.
#pragma once

#include <set>
#include <string>

#include "state/state.h"

namespace orch::control::manager {

// Names of the networks that nodes have by themselves.
std::set<std::string> localNetworks(const State& state);
bool isLocalNetwork(const State& state, kj::StringPtr name);
void describeNetwork(const State& state, const std::string& name, schema::Network::Builder network);
// How many addresses of its own network a node has given to tasks.
uint32_t addressesUsed(const State& state, std::string_view nodeId, const std::string& network);

// The services and the tasks that are on the network, by name: those of one that users made by its
// id, those of the nodes' own by its name.
void describeUsers(const State& state, schema::Network::Builder network);

}  // namespace orch::control::manager
