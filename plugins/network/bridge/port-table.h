// Which tasks are behind which published port, and what of that the kernel does not know yet. Pure.
// Everything may be repeated: publishing or withdrawing twice is as once.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "record.h"

namespace orch::network::bridge {

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
  bool operator==(const Backend&) const = default;
};
// In the order of their turns. Empty: published, but nobody is active.
using Backends = std::vector<Backend>;

// One published port in the kernel, before and after; nothing: not published.
struct PortChange {
  PortKey key;
  std::optional<Backends> before;
  std::optional<Backends> after;
};

class PortTable final {
 public:
  // The task that keeps `port` from being published by another one: in mode=host a port belongs to
  // one task; in mode=ingress it is shared by all that ask for it in that mode.
  std::optional<std::string> conflict(const TaskPort& port) const;
  bool published(PortKey key) const { return ports.count(key) > 0; }
  std::vector<PortKey> keys() const;

  void publish(const TaskRecord& record);
  void withdraw(const TaskRecord& record);  // deactivates as well
  void activate(const TaskRecord& record);  // after publish
  void deactivate(const TaskRecord& record);

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
    std::set<std::string> tasks;
    Backends backends;
  };
  void removeBackend(PortKey key, Backend backend);

  std::map<PortKey, Port> ports;
  std::map<PortKey, Backends> inKernel;
  std::set<PortKey> touched;  // may differ from inKernel
};

}  // namespace orch::network::bridge
