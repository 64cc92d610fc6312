// Where in a store of keys and values a cluster's entries are. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orch::discovery {

// A server that speaks HTTP: `consul`, whose URIs are `consul://host:port,host:port/prefix` and
// `consul+https://…`.
struct KeyServer {
  const char* scheme;
  const char* defaultPort;  // with its colon
};

struct KeyPlace {
  std::vector<std::string> hosts;  // `10.0.0.1:8500`, at most 16
  bool secure = false;
  std::string nodes;    // `prefix/docker/swarm/nodes/`: the keys that classic Swarm knows
  std::string details;  // `prefix/orch/docker/swarm/nodes/`: what it knows nothing of
  // `http://10.0.0.1:8500`, of each host.
  std::vector<std::string> urls() const;
};

// `path` is below the prefix, classic Swarm's `kv.path`; `tls`: TLS is spoken whatever the scheme
// says. Fails, naming the setting (`uri` or `path`), with what is accepted.
KeyPlace parseKeyPlace(const KeyServer& server, std::string_view uri, std::string_view path,
                       bool tls);

}  // namespace orch::discovery
