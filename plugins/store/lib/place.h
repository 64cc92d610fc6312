// Where a store's state is, as Store.limits says it and people write it. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orch::store {

// `zk://10.0.0.1:2181,[fd00::1]:2181/orch`; `servers` as `host:port`, the prefix with slashes
// around it or without.
std::string uriOf(std::string_view scheme, const std::vector<std::string>& servers,
                  std::string_view prefix);

// Of servers that speak HTTP: `etcd+https` if they do so over TLS.
template <typename Endpoint>
std::string uriOf(std::string_view scheme, const std::vector<Endpoint>& endpoints,
                  std::string_view prefix) {
  std::vector<std::string> servers;
  bool secure = false;
  for (auto& endpoint : endpoints) {
    bool six = endpoint.host.find(':') != std::string::npos;
    auto host = six ? "[" + endpoint.host + "]" : endpoint.host;
    servers.push_back(host + ":" + std::to_string(endpoint.port));
    secure |= endpoint.secure;
  }
  return uriOf(std::string(scheme) + (secure ? "+https" : ""), servers, prefix);
}

}  // namespace orch::store
