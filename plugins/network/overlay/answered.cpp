#include "answered.h"

namespace orch::network::overlay {

void Answered::look() {
  addresses.clear();
  for (auto& found : net.addresses()) {
    bool ours = found.link == LOOPBACK_INDEX && found.address != LOOPBACK_ADDRESS;
    if (ours) addresses.insert(found.address);
  }
}

void Answered::add(Ipv4 address) {
  if (!addresses.insert(address).second) return;
  net.run(newAddress(LOOPBACK_INDEX, address, ONE_ADDRESS));
}

void Answered::keepOnly(const std::map<Ipv4, Balanced>& services) {
  for (auto address : std::set<Ipv4>(addresses)) {
    if (services.count(address) > 0) continue;
    net.run(deleteAddress({LOOPBACK_INDEX, address, ONE_ADDRESS}));
    addresses.erase(address);
  }
}

}  // namespace orch::network::overlay
