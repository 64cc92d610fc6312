// The kernel as one plugin sees it.
#pragma once

#include "kernel/bus/bus.h"
#include "kernel/config/manifest.h"
#include "kernel/log/limited-log.h"
#include "kernel/rpc/registry.h"
#include "orch/schema/plugin.capnp.h"

namespace orch::plugin {

struct NodeIdentity {
  std::string id;
  std::string name;
};

// What all plugins of a node share. Outlives every HostServer's use: see Kernel.
struct NodeParts {
  Env& env;
  const config::NodeEntry& node;
  const NodeIdentity& identity;
  bus::Bus& bus;
  rpc::Registry& registry;
};

// Answers what the node is.
void describeNode(schema::Host::NodeResults::Builder results, const config::NodeEntry& node,
                  const NodeIdentity& identity, const std::string& instance);

// `lines` outlives the capability's use. Of services it hands out those that `reachable` names: by
// kind (`store`), by plugin (`store.local`, any instance) or in full. No others exist for the
// plugin, and asking for one fails.
schema::Host::Client newHostServer(NodeParts parts, const std::string& instance,
                                   std::vector<std::string> reachable, log::LimitedLog& lines);

}  // namespace orch::plugin
