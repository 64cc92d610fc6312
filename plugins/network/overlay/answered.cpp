#include "answered.h"

#include <kj/debug.h>

#include "layout.h"

namespace orch::network::overlay {

void Answered::look() {
  addresses.clear();
  if (!kind.isIpv6()) {
    for (auto& found : net.addresses()) {
      bool ours = found.link == LOOPBACK_INDEX && found.address != LOOPBACK_ADDRESS;
      if (ours) addresses.insert(found.address);
    }
    return;
  }
  auto link = net.link(BRIDGE);
  KJ_REQUIRE(link.has_value(), "there is no bridge that could answer for virtual addresses",
             BRIDGE);
  bridge = link->index;
  for (auto& found : net.addresses6()) {
    bool ours = found.link == bridge && found.prefix == ONE_ADDRESS6;
    auto owner = ours ? kind.twins()->ownerOf(found.address) : std::nullopt;
    if (owner) addresses.insert(*owner);
  }
}

void Answered::change(Ipv4 address, bool there) {
  if (kind.isIpv6()) {
    auto twin = kind.twinOf(address);
    net.run(there ? newAddress(bridge, twin, ONE_ADDRESS6)
                  : deleteAddress(Address6{bridge, twin, ONE_ADDRESS6}));
  } else {
    net.run(there ? newAddress(LOOPBACK_INDEX, address, ONE_ADDRESS)
                  : deleteAddress(Address{LOOPBACK_INDEX, address, ONE_ADDRESS}));
  }
}

void Answered::add(Ipv4 address) {
  if (addresses.insert(address).second) change(address, true);
}

void Answered::keepOnly(const std::map<Ipv4, Balanced>& services) {
  for (auto address : std::set<Ipv4>(addresses)) {
    if (services.count(address) > 0) continue;
    change(address, false);
    addresses.erase(address);
  }
}

}  // namespace orch::network::overlay
