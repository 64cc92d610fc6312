// What is known of the node and the cluster, as metrics. Pure.
#pragma once

#include <capnp/schema.h>

#include "event-counts.h"
#include "exposition.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/gateway.capnp.h"
#include "server.h"

namespace orch::api::http {

void describePlugins(Exposition& to, capnp::List<schema::PluginStatus>::Reader plugins);
void describeStatus(Exposition& to, schema::ClusterStatus::Reader status);
void describeNodes(Exposition& to, capnp::List<schema::Node>::Reader nodes);
void describeServices(Exposition& to, capnp::List<schema::ServiceRow>::Reader services);
void describeTasks(Exposition& to, capnp::List<schema::Task>::Reader tasks);
void describeUsage(Exposition& to, schema::ClusterControl::UsageResults::Reader usage);
void describeEvents(Exposition& to, const EventCounts::Counts& counts);
void describeServer(Exposition& to, const NetFigures& net,
                    const std::map<unsigned, uint64_t>& answers, size_t streams);

// The name of an enum's value as the schema has it; `unknown` for one of a newer schema.
template <typename E>
std::string_view nameOf(E value) {
  auto all = capnp::Schema::from<E>().getEnumerants();
  auto number = static_cast<unsigned>(value);
  if (number >= all.size()) return "unknown";
  return all[number].getProto().getName().cStr();
}
// How many there are of each value, zeros too.
template <typename E, typename List, typename Get>
void countEach(Exposition& to, std::string_view label, List list, Get get) {
  auto all = capnp::Schema::from<E>().getEnumerants();
  std::map<unsigned, uint64_t> counts;
  for (auto one : list) ++counts[static_cast<unsigned>(get(one))];
  for (unsigned i = 0; i < all.size(); ++i) {
    to.sample({{label, all[i].getProto().getName().cStr()}}, counts[i]);
  }
}

}  // namespace orch::api::http
