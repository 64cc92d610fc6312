// Where in a ZooKeeper a cluster's entries are. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "zookeeper/address.h"

namespace orch::discovery::zookeeper {

struct Place {
  std::vector<orch::zookeeper::Server> servers;
  std::string nodes;    // `/prefix/docker/swarm/nodes`: the folder that classic Swarm knows
  std::string details;  // `/prefix/orch/docker/swarm/nodes`: of what it knows nothing of
};

// `uri` and `path` as in config.capnp. Fails, naming the setting, with what is accepted.
Place parsePlace(std::string_view uri, std::string_view path);

}  // namespace orch::discovery::zookeeper
