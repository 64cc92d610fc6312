// Where in a consul a cluster's entries are. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/endpoint.h"

namespace orch::discovery::consul {

struct Place {
  std::vector<http::Endpoint> endpoints;
  std::string nodes;    // `prefix/docker/swarm/nodes/`: the keys that classic Swarm knows
  std::string details;  // `prefix/orch/docker/swarm/nodes/`: what it knows nothing of
  std::string named;    // `consul at '10.0.0.1:8500'`
};

// `uri` as in config.capnp; `tls`: it speaks TLS whatever the scheme says. Fails, naming the
// setting, with what is accepted.
Place parsePlace(std::string_view uri, std::string_view path, bool tls);

}  // namespace orch::discovery::consul
