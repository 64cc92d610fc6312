// What the service `cluster` answers from the state.
#pragma once

#include <kj/function.h>

#include "serve/cluster-server.h"

namespace orch::control::manager {

// An object as users see it: with the revision that wrote it as its version.
template <typename T>
void withVersion(const Object& object, typename T::Builder target) {
  target.getMeta().setVersion(object.revision);
}
template <typename T, typename List>
void copyInto(const Object& object, List list, uint32_t index) {
  list.setWithCaveats(index, object.as<T>());
  withVersion<T>(object, list[index]);
}

void describeInfo(ClusterParts& parts, schema::ClusterInfo::Builder info);
void listServices(const State& state,
                  kj::Function<capnp::List<schema::ServiceRow>::Builder(uint32_t)> makeList);
// Ids of the tasks that the filter lets through, by service name, slot and age.
std::vector<std::string> selectTasks(const View& view, schema::TaskFilter::Reader filter,
                                     kj::StringPtr ownNodeId);
// Fills in how many addresses the node's tasks have, as the tasks tell it: the node's own
// description would be as old as its last one.
void countAddresses(const State& state, schema::Node::Builder node);
std::vector<std::string> networkNames(const State& state);
std::string resolveNetwork(const State& state, kj::StringPtr typed);
void describeNetwork(const State& state, const std::string& name, schema::Network::Builder network);
// Also the full id of a service that is gone.
std::string resolveForProgress(const View& view, kj::StringPtr typed);

}  // namespace orch::control::manager
