// Which tasks of this node and which other nodes are behind which published port, and what of that
// the kernel does not know yet. Pure. Everything may be repeated: publishing or withdrawing twice
// is as once.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "publication.h"

namespace orch::network::ingress {

struct PortKey {
  uint8_t protocol = 0;
  uint16_t port = 0;
  auto operator<=>(const PortKey&) const = default;
};

inline PortKey keyOf(const TaskPort& port) { return {port.protocol, port.published}; }

// Where one connection may go.
struct Backend {
  Ipv4 address = 0;
  uint16_t port = 0;
  std::optional<Ipv6> address6;  // nothing: it is not reached by IPv6
  bool operator==(const Backend&) const = default;
};
using Backends = std::vector<Backend>;
// By which IPv6 reaches a node over the mesh: it has its address of IPv4 in it, so that nobody need
// be told of it.
Ipv6 meshAddressOf(Ipv4 node);

// Where a port leads: in the order of their turns, those of this node first. Another node has a
// turn for each of its tasks, unless this one has some and they are preferred. Empty: published,
// but nobody is active.
struct Led {
  Backends turns;
  size_t here = 0;  // of them
  bool operator==(const Led&) const = default;
  // Those of them that IPv6 reaches.
  Led ofIpv6() const;
};

// One published port in the kernel, before and after; nothing: not published.
struct PortChange {
  PortKey key;
  std::optional<Led> before;
  std::optional<Led> after;
};

// How many tasks of another node take new connections.
struct Share {
  Ipv4 node = 0;
  uint32_t tasks = 0;
  bool operator==(const Share&) const = default;
};
using Shares = std::map<PortKey, std::vector<Share>>;

class PortTable final {
 public:
  // Whether somebody keeps `port` from being published by another task: in mode=host a port belongs
  // to one task; in mode=ingress it is shared by all that ask for it in that mode.
  bool conflicts(const TaskPort& port) const;
  bool published(PortKey key) const { return ports.count(key) > 0; }
  std::vector<PortKey> keys() const;

  void publish(const Publication& publication);
  void withdraw(const Publication& publication);  // deactivates as well
  void activate(const Publication& publication);  // after publish
  void deactivate(const Publication& publication);
  // All that other nodes have.
  void share(const Shares& shares);

  // Between what the kernel has, as far as `confirm` and `forget` told, and what it should have.
  std::vector<PortChange> changes() const;
  // Everything that the kernel should have, as if it had nothing.
  std::vector<PortChange> everything() const;
  // The kernel has these now.
  void confirm(const std::vector<PortChange>& done);
  // What the kernel has is exactly `done`, and nothing else.
  void confirmAll(const std::vector<PortChange>& done);

 private:
  struct Port {
    bool host = false;
    bool preferLocal = false;  // as the last who published it said
    std::set<std::string> tasks;
    std::map<std::string, Backend> active;  // of these tasks
    Backends backends;                      // theirs, in the order of their turns
    std::vector<Share> shares;
    bool unused() const { return tasks.empty() && shares.empty(); }
  };
  static Led ledBy(PortKey key, const Port& port);
  void removeBackend(PortKey key, const std::string& taskId);

  std::map<PortKey, Port> ports;
  std::map<PortKey, Led> inKernel;
  std::set<PortKey> touched;  // may differ from inKernel
};

}  // namespace orch::network::ingress
