// Which TCP connections of one network namespace others have made into it, as the kernel's socket
// diagnosis has them (man 7 sock_diag). Blocking: for worker threads.
#pragma once

#include <kj/string.h>

#include <cstdint>

#include "lib/netlink.h"

namespace orch::network {

// A connection's state in the eyes of somebody who is about to stop the server.
struct ConnectionFacts {
  uint8_t state = 0;        // of linux/tcp.h: TCP_ESTABLISHED ...
  uint32_t unread = 0;      // bytes that the server has not taken
  uint32_t unsent = 0;      // bytes, or a FIN, that the client has not acknowledged
  uint32_t heardMs = 0;     // since the client's last data
  uint32_t answeredMs = 0;  // since the server's last data
  bool unanswered = false;  // the client has sent something, and the server never anything
};

// One on which something is moving, or a client waits for an answer: it spoke last. One that has
// been quiet for QUIET_MS since the server's last word is kept open for the next request only.
constexpr uint32_t QUIET_MS = 200;
bool isUnderWay(const ConnectionFacts& connection);

class OpenConnections final {
 public:
  // Of the namespace that is pinned at `path`; fails if there is none.
  explicit OpenConnections(kj::StringPtr path);

  // How many are under way of those that came from outside the namespace to a port that somebody
  // in it listens on, IPv4 and IPv6.
  uint32_t underWay();

 private:
  NetlinkSocket socket;
};

}  // namespace orch::network
