// What the service `cluster` answers from the state.
#pragma once

#include <kj/function.h>

#include "serve/cluster-server.h"

namespace orch::control::manager {

// An object as users see it: with the revision that wrote it as its version.
// Also what is not stored.
// Without the secrets of the tokens.
void complete(const State&, const Object& object, schema::Cluster::Builder copy);
inline void complete(const State&, const Object& object, schema::Service::Builder copy) {
  copy.getMeta().setVersion(object.version());
}
inline void complete(const State&, const Object& object, schema::Admin::Builder copy) {
  copy.getMeta().setVersion(object.version());
}
void complete(const State& state, const Object& object, schema::Node::Builder copy);
inline void complete(const State&, const Object& object, schema::Task::Builder copy) {
  TaskReader(object).complete(copy, object.version());
}
template <typename T, typename List>
void copyInto(const State& state, const Object& object, List list, uint32_t index) {
  list.setWithCaveats(index, object.as<T>());
  complete(state, object, list[index]);
}

void describeInfo(ClusterParts& parts, schema::ClusterInfo::Builder info);
void listServices(const View& view,
                  kj::Function<capnp::List<schema::ServiceRow>::Builder(uint32_t)> makeList);
// Ids of the tasks that the filter lets through, by service name, slot and age.
std::vector<std::string> selectTasks(const View& view, schema::TaskFilter::Reader filter,
                                     kj::StringPtr ownNodeId);
inline void complete(const State&, const Object& object, schema::Network::Builder copy) {
  copy.getMeta().setVersion(object.version());
}
// Also the full id of a service that is gone.
std::string resolveForProgress(const View& view, kj::StringPtr typed);

}  // namespace orch::control::manager
