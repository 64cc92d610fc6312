// The nftables tables of this plugin: the only ones that it touches.
//
// clang-format off
//   table ip orch {
//     chain guard       { prerouting, raw: from orch0 and to or from 127/8: drop }
//     chain forward     { filter: new, into orch0, not by a published port: drop }
//     chain postrouting { nat: masquerade what leaves the bridge's network; what comes to a task
//                         from 127/8; and what goes from one task to another by a published port }
//   }
//   table ip6 orch, where tasks have IPv6: the same without `guard`
// clang-format on
//
// Published ports are another plugin's (network.ingress): what it has led to a task shows as a
// rewritten destination. The bridge has route_localnet=1 for the sake of 127.0.0.1, and `guard`
// closes what that opens.
#pragma once

#include <string>
#include <vector>

#include "layout.h"
#include "lib/nft-batch.h"

namespace orch::network::bridge {

// The table as above, whether it was there before, with these `chains`, or not. What stays is not
// deleted and made anew: between the hooks of an old table and those of a new one that takes its
// place in the same batch a packet finds neither.
void buildTable(NftBatch& batch, const Layout& layout, const std::vector<std::string>& chains);
// The same of IPv6.
void buildTable6(NftBatch& batch, const Layout& layout, const std::vector<std::string>& chains);
// Those of the table, each of which has rules.
std::vector<std::string> tableChains(bool ipv6 = false);

}  // namespace orch::network::bridge
