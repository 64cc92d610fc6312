// A store by the servers that have it, as people write it:
// `etcd://10.0.0.1:2379,10.0.0.2:2379/lab`, `etcd+https://…`, `consul://…`, `consul+https://…`,
// `zk://…`. Pure.
#pragma once

#include <kj/string.h>

#include <string>
#include <string_view>
#include <vector>

namespace orch::control::manager {

struct StoreUri {
  std::string plugin;  // `store.etcd`
  bool secure = false;
  std::vector<std::string> servers;  // `host:port`, lower case, at most 16
  std::string prefix;                // without slashes around it

  // Whether it looks like one, and not like a plugin's name.
  static bool isOne(std::string_view text);
  // Without a port, the server's own; without a prefix, the plugin's. Fails with what is accepted.
  static StoreUri parse(std::string_view text);

  // Whether a store there is this one: all servers are some of its, and the prefix is the same. One
  // whose manifest names certificates speaks TLS, whatever is said here.
  bool isPartOf(const StoreUri& store) const;
  // The line of a manifest's file of its own that has a store there. `id`: of the plugin.
  kj::String manifestLine(std::string_view id) const;
};

}  // namespace orch::control::manager
