// The nftables table of a network's namespace, where nftables balances.
//
// clang-format off
//   table ip orch {                                  for IPv6 `table ip6 orch` with its addresses
//     map services { ipv4_addr : verdict }             virtual address: goto vip-10.0.1.2
//     map backends { ipv4_addr . mark : ipv4_addr }    virtual address and turn: a task's
//     set hairpins { ipv4_addr . ipv4_addr }           a task of this node, twice
//     chain vip-10.0.1.2 { dnat to daddr . (numgen inc mod N) in backends }   one rule, with a task;
//                          for Algorithm::SH (jhash saddr mod N)
//     map stays { ipv4_addr . ipv4_addr : ipv4_addr }  virtual address and client: its task, for a while
//     set members { ipv4_addr . ipv4_addr }            virtual address and task, where clients stay
//     chain prerouting   { nat: TCP and UDP: daddr vmap services }
//     chain postrouting  { nat: saddr . daddr in hairpins: masquerade }     of IPv6: snat to the gateway
//   }
// clang-format on
//
// Each service has a numgen of its own, so its turns are exact whatever others do. What is for a
// virtual address that nobody serves stays in the namespace, where nobody listens: the kernel
// refuses it at once. Clients stay by two more rules before that one: who is in `stays`, with a
// task that is still in `members`, is led there; who is not, or cannot be put in, gets a turn.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "address-kind.h"
#include "balancer.h"
#include "lib/nft-batch.h"

namespace orch::network::overlay {

constexpr const char* TABLE = "orch";

// `now` in the order of its turns: each of `before` has the place that it has in `places`,
// newcomers have those of who went, and the last ones fill what is left. So a change of one task is
// a change of two turns at most, however many others there are. `before` and `now` are sorted by
// address, `places` has what `before` has.
Backends keepPlaces(Backends places, const Backends& before, const Backends& now);

// The table with these and nothing else, whether it was there before, with these `chains`, or not.
void buildTable(NftBatch& batch, const AddressKind& kind, const std::vector<std::string>& chains,
                const std::map<Ipv4, Balanced>& services, const std::set<Ipv4>& locals);
// What leads from the one to the other, no more.
void buildService(NftBatch& batch, const AddressKind& kind, Ipv4 address, const Balanced& had,
                  const Balanced& wanted);
void buildHairpin(NftBatch& batch, const AddressKind& kind, Ipv4 local, bool there);

}  // namespace orch::network::overlay
