// The nftables table of a network's namespace, where IPVS balances: which packets are for a service
// of IPVS, and what becomes of a task that reaches itself. Connections are not tracked.
//
// clang-format off
//   table bridge orch {
//     map marks { inet_proto . ipv4_addr : mark }      protocol and virtual address: IPVS's service
//     set hairpins { ipv4_addr . ipv4_addr }           a task of this node, twice
//     set loops { ipv4_addr . inet_proto . inet_service . inet_service; timeout }
//                                                      a task that reached itself: port, client's
//     chain prerouting  { daddr the gateway, saddr . protocol . sport . dport in loops: daddr := saddr
//                         protocol . daddr in marks: mark }
//     chain postrouting { saddr . daddr in hairpins: into loops; saddr := the gateway }
//   }
// clang-format on
//
// The family is bridge since the kernels that the tests have IPVS of know no other.
// A task drops what comes from its own address, so the gateway's stands for it on the way there,
// and is taken back before IPVS sees the answer.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "balancer.h"
#include "ipvs.h"
#include "lib/nft-batch.h"

namespace orch::network::overlay {

// Of a service of IPVS. The protocols have one each, since UDP leaves a task at once and TCP does
// not; addresses of one network differ below their first bit.
uint32_t markOf(Ipv4 address, uint8_t protocol);
IpvsScheduling schedulingOf(const Balanced& service);
// For a kernel that lacks the scheduler of that.
IpvsScheduling inTurns(const Balanced& service);

constexpr NftFamily IPVS_FAMILY = NftFamily::BRIDGE;
// Of one family, so with names of their own.
kj::StringPtr ipvsTableOf(const AddressKind& kind);

// As of nft-rules.h; `marked` are virtual addresses.
void buildIpvsTable(NftBatch& batch, const AddressKind& kind,
                    const std::vector<std::string>& chains, Ipv4 gateway,
                    const std::set<Ipv4>& marked, const std::set<Ipv4>& locals);
void buildMark(NftBatch& batch, const AddressKind& kind, Ipv4 address, bool there);

}  // namespace orch::network::overlay
