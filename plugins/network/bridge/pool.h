// The addresses of a subnet that tasks may have: all but the network's own, the broadcast address
// and the gateway. Pure. An address that was given back is the last to be given again, since others
// may still have it in their caches.
#pragma once

#include <optional>
#include <vector>

#include "lib/ipv4.h"

namespace orch::network::bridge {

class AddressPool final {
 public:
  // The gateway is the subnet's first address. One bit per address: 2 MiB for a /8.
  explicit AddressPool(const Ipv4Subnet& subnet);

  // Empty if all are in use.
  std::optional<Ipv4> take();
  // One in particular: false if it is in use or not one for tasks.
  bool take(Ipv4 address);
  void giveBack(Ipv4 address);

  uint32_t total() const { return used.size(); }
  uint32_t inUse() const { return count; }

 private:
  Ipv4 first;              // of those for tasks
  std::vector<bool> used;  // by address - first
  size_t next = 0;         // where the search begins
  uint32_t count = 0;
};

}  // namespace orch::network::bridge
