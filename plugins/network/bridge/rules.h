// The nftables table of this plugin: the only one that it touches.
//
// clang-format off
//   table ip orch {
//     set published   { inet_proto . inet_service }            every port that some task publishes
//     map active      { inet_proto . inet_service : verdict }  those with an active task: goto tcp-8080
//     map backends    { inet_proto . inet_service . mark : ipv4_addr . inet_service }
//                                                              port and turn: task's address and port
//     chain tcp-8080    { dnat to port . (numgen inc mod N) in backends }   one rule, per active port
//     chain guard       { prerouting, raw: from orch0 and to or from 127/8: drop }
//     chain prerouting  { nat: to a local address: l4proto . dport vmap active }
//     chain output      { nat: the same, for the node itself }
//     chain input       { filter: l4proto . dport in published: refuse }
//     chain forward     { filter: new, into orch0, not by a published port: drop }
//     chain postrouting { nat: masquerade what leaves the bridge's network; what comes to a task
//                         from 127/8; and what goes from one task to another by a published port }
//   }
// clang-format on
//
// Each port has a numgen of its own, so its turns are exact whatever other ports do. A packet for a
// published port gets to `input` only if no task is active: it is refused at once. The bridge has
// route_localnet=1 for the sake of 127.0.0.1, and `guard` closes what that opens.
#pragma once

#include <vector>

#include "layout.h"
#include "lib/nft-batch.h"
#include "port-table.h"

namespace orch::network::bridge {

// The table with these ports and nothing else, whether it was there before, with these `chains`, or
// not. What stays is not deleted and made anew: between the hooks of an old table and those of a
// new one that takes its place in the same batch a packet finds neither (about one connection in a
// hundred such batches was refused). Sets of other types than these fail the batch.
void buildTable(NftBatch& batch, const Layout& layout, const std::vector<std::string>& chains,
                const std::vector<PortChange>& ports);
// What leads from `before` to `after`, no more.
void buildChange(NftBatch& batch, const PortChange& change);

}  // namespace orch::network::bridge
