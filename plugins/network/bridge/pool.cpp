#include "pool.h"

#include <kj/debug.h>

namespace orch::network::bridge {

AddressPool::AddressPool(const Ipv4Subnet& subnet)
    : first(subnet.network + 2), used(subnet.size() - 3) {}

std::optional<Ipv4> AddressPool::take() {
  if (count == used.size()) return std::nullopt;
  while (used[next]) next = (next + 1) % used.size();
  Ipv4 address = first + next;
  KJ_ASSERT(take(address));
  next = (next + 1) % used.size();
  return address;
}

bool AddressPool::take(Ipv4 address) {
  if (address < first || address - first >= used.size() || used[address - first]) return false;
  used[address - first] = true;
  ++count;
  return true;
}

void AddressPool::giveBack(Ipv4 address) {
  KJ_REQUIRE(address >= first && address - first < used.size() && used[address - first],
             "an address is given back that was not taken");
  used[address - first] = false;
  --count;
}

}  // namespace orch::network::bridge
