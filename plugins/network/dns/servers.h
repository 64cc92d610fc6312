// Where names are asked for that are none of the cluster's.
#pragma once

#include <kj/string.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <compare>
#include <optional>
#include <string>
#include <vector>

namespace orch::network::dns {

// A server's address, port 53.
struct Server {
  sockaddr_storage address = {};
  socklen_t size = 0;
  bool operator<(const Server& other) const;
};
// Of `10.0.0.1`, `fd00::1`, `fe80::1%eth0`; empty if it is none.
std::optional<Server> parseServer(const std::string& text);
// The address at which tasks find us: whoever asked it would ask in a circle.
bool isOurs(const Server& server);

// The host's, of the `nameserver` lines of a file that is read again when it has changed.
class HostServers final {
 public:
  // As many as glibc takes (MAXNS).
  static constexpr size_t MOST = 3;

  explicit HostServers(std::string path) : path(kj::mv(path)) {}
  // Never one of ours. None without the file.
  const std::vector<Server>& current();
  // Grows when the file has changed.
  uint64_t generation() const { return changes; }

 private:
  const std::string path;
  std::vector<Server> servers;
  struct stat last = {};
  uint64_t changes = 0;
};

}  // namespace orch::network::dns
