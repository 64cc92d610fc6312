// Where a server of ZooKeeper is, as settings and URIs name it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orch::zookeeper {

struct Server {
  std::string host;  // a name or an address, without brackets
  uint16_t port = 0;

  // Fails, naming what is accepted, unless it is `host:port` or `[v6]:port`.
  static Server parse(std::string_view text);
  std::string text() const;
};

// `'10.0.0.1:2181', '10.0.0.2:2181'`
std::string namesOf(const std::vector<Server>& servers);

}  // namespace orch::zookeeper
