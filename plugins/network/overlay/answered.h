// The virtual addresses that a network's namespace has: its bridge answers for them. Those of IPv4
// are on lo, those of IPv6 on the bridge itself, which does not answer for another device.
#pragma once

#include <map>
#include <set>

#include "address-kind.h"
#include "balancer.h"
#include "lib/rtnetlink.h"

namespace orch::network::overlay {

// Of lo itself, and how they are told apart from it.
constexpr Ipv4 LOOPBACK_ADDRESS = 0x7f000001;
constexpr uint8_t ONE_ADDRESS = 32;
constexpr uint8_t ONE_ADDRESS6 = 128;

// Blocking, for one thread at a time.
class Answered final {
 public:
  // In the calling thread's network namespace, whichever thread uses it afterwards.
  explicit Answered(const AddressKind& kind) : kind(kind) {}
  KJ_DISALLOW_COPY(Answered);

  // Reads what there is. For IPv6 there must be the bridge.
  void look();
  void add(Ipv4 address);  // there is success
  void keepOnly(const std::map<Ipv4, Balanced>& services);

 private:
  void change(Ipv4 address, bool there);

  AddressKind kind;
  Rtnetlink net;
  uint32_t bridge = 0;
  std::set<Ipv4> addresses;
};

}  // namespace orch::network::overlay
