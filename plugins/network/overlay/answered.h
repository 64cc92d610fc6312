// The virtual addresses that a network's namespace has, on its lo: its bridge answers for them.
#pragma once

#include <map>
#include <set>

#include "balancer.h"
#include "lib/rtnetlink.h"

namespace orch::network::overlay {

// Of lo itself, and how they are told apart from it.
constexpr Ipv4 LOOPBACK_ADDRESS = 0x7f000001;
constexpr uint8_t ONE_ADDRESS = 32;

// Blocking, for one thread at a time.
class Answered final {
 public:
  // In the calling thread's network namespace, whichever thread uses it afterwards.
  Answered() = default;
  KJ_DISALLOW_COPY(Answered);

  // Reads what there is.
  void look();
  void add(Ipv4 address);  // there is success
  void keepOnly(const std::map<Ipv4, Balanced>& services);

 private:
  Rtnetlink net;
  std::set<Ipv4> addresses;
};

}  // namespace orch::network::overlay
