// The network between the machines of a virtual world: byte streams as TCP gives them, over links
// that delay, stall, are cut in one direction or both, and hosts that vanish without a word. What
// TCP hides stays hidden: bytes are never lost, doubled or out of order, they come late.
#pragma once

#include <kj/async-io.h>

#include "orch/testing/virtual-env.h"

namespace orch::testing {

// From one machine to another, in that direction.
struct LinkQuality {
  kj::Duration delay = 200 * kj::MICROSECONDS;   // of every piece, at least
  kj::Duration jitter = 300 * kj::MICROSECONDS;  // more, at most
  // Of a thousand pieces so many are lost and sent again: all behind them wait for `stall` at most.
  uint32_t lossPerMille = 0;
  kj::Duration stall = 1 * kj::SECONDS;
  bool cut = false;
};

// Lives as long as the world's loop turns.
class MemoryNetwork final {
 public:
  MemoryNetwork(VirtualWorld& world, uint64_t seed);
  ~MemoryNetwork() noexcept(false);
  KJ_DISALLOW_COPY(MemoryNetwork);

  // `name` is also its address: others connect to `name:port`.
  void addHost(kj::StringPtr name, VirtualMachine& machine);
  // The host's network, for one life of its machine. A peer's identity is the name of its host.
  kj::Own<kj::Network> networkOf(kj::StringPtr name);
  // The life that `networkOf` was last asked for is over. As by the end of a process the other ends
  // hear of it; with `silently`, as by a loss of power, they do not before the host is `up` again
  // and something is sent to it.
  void endLife(kj::StringPtr name, bool silently);
  // The host has power again. It has, until it is `endLife`d silently.
  void up(kj::StringPtr name);
  void setLink(kj::StringPtr from, kj::StringPtr to, LinkQuality quality);
  LinkQuality link(kj::StringPtr from, kj::StringPtr to) const;
  // All connections between two hosts are reset at both ends.
  void reset(kj::StringPtr a, kj::StringPtr b);
  // After `thaw`: what arrived meanwhile is read.
  void awake(kj::StringPtr name);

  // Delivered so far.
  uint64_t bytes() const;
  // In connections that somebody still holds. For limits.
  size_t connections() const;

  struct Impl;

 private:
  kj::Own<Impl> impl;
};

}  // namespace orch::testing
