// Where services are registered, as a setting says it. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orch::integration::registrator {

struct Registry {
  enum class Kind { CONSUL, CONSUL_KV, ETCD, SKYDNS, ZOOKEEPER };
  Kind kind = Kind::CONSUL;
  bool secure = false;             // by its scheme
  std::vector<std::string> hosts;  // `10.0.0.1:8500`
  std::string path;                //
                                   // `/services`, of keys; empty: none

  // `https://10.0.0.1:8500`; `tls`: whatever the scheme says.
  std::vector<std::string> urls(bool tls) const;
};

// `consul://host:port`, `consulkv://host:port/path`, `etcd://host:port,host:port/path`,
// `skydns2://host:port/domain` (whose path is that of the domain, `/skydns/local/cluster`) and
// `zookeeper://…/path`, in registrator's words; `consul-tls` and so on speak TLS. What is left out
// is 127.0.0.1 and the server's usual port. Fails, naming the setting, with what is accepted.
Registry parseRegistry(std::string_view registry);

}  // namespace orch::integration::registrator
