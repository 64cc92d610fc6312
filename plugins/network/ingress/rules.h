// The nftables tables of this plugin: the only ones that it touches.
//
// clang-format off
//   table ip orch-ingress {
//     set published   { inet_proto . inet_service }            every port that somebody publishes
//     map active      { inet_proto . inet_service : verdict }  those that lead somewhere: goto tcp-8080
//     map here        { inet_proto . inet_service : verdict }  those with a task here: goto here-tcp-8080
//     map backends    { inet_proto . inet_service . mark : ipv4_addr . inet_service }
//                                                              port and turn: task or node, and its port
//     set nodes       { ipv4_addr }                            other nodes that have tasks
//     set selves      { ipv4_addr . ipv4_addr }                each of them twice
//     chain tcp-8080      { dnat to port . (numgen inc mod N) in backends }   one rule
//     chain here-tcp-8080 { the same, of those turns that are tasks here }
//     chain prerouting  { nat: to a local address: l4proto . dport vmap active; from the mesh: here }
//     chain output      { nat: the same, for the node itself }
//     chain input       { filter: l4proto . dport in published: refuse }
//   }
// clang-format on
//
// Each port has numgens of its own, so its turns are exact whatever other ports do. A packet for a
// published port gets to `input` only if nobody is active: it is refused at once.
//
// **The mesh.** A connection to a port whose turn is another node's is led to that node's own
// address by a VXLAN device, whatever the routes say, with the client's address as it is; there the
// port leads to a task of that node. Each side keeps the address of the other as the connection's
// mark, and the frame's receiver is written from it where it leaves the device (02:42 and the
// address, as all MACs of the mesh are made): no table names the nodes, however many there are.
//
// clang-format off
//     chain zone    { prerouting, before the lookup: from the mesh: zone = last two bytes of the
//                     sender's address: equal clients that come by two nodes are two connections;
//                     packets that carry frames, to this node: not tracked }
//     chain carry   { output, before the lookup: the same, from this node }
//     chain aside   { output, before nat: to 127/8 and a published port: marked; or the kernel would
//                     look for a route for 127.0.0.1 outside }
//     chain lead    { prerouting, after nat: note the other side; mark what has to go by the mesh;
//                     most packets have nothing to do with it, and are let off first }
//     chain leadout { output, after nat: the same, for the node itself }
//     chain leave   { postrouting: into the mesh: segments that fit; mark = the other side }
//     chain source  { postrouting, nat: into the mesh: what the other node could not answer to
//                     (127/8, local networks of this node, itself) leaves with this node's address }
//     chain forward { filter: new, from the mesh, not by a published port: drop }
//   }
//   table ip6 orch-ingress, on a host with IPv6: the same. Other nodes are led to by addresses that are
//   made of theirs of IPv4 (meshAddressOf), which is what `nodes` and marks go by; there is no `selves`.
//   table netdev orch-ingress {
//     chain egress  { receiver of the frame = 02:42 and the mark }
//   }
// clang-format on
#pragma once

#include <set>
#include <vector>

#include "layout.h"
#include "lib/nft-batch.h"
#include "port-table.h"

namespace orch::network::ingress {

// Of packets that have to leave by the mesh.
constexpr uint32_t MESH_MARK = 0x6f726368;

struct MeshFacts {
  Ipv4 own = 0;                    // address of this node; 0: there is no mesh
  std::vector<Ipv4Subnet> inside;  // that exist on this node alone
  bool operator==(const MeshFacts&) const = default;
};

// Those of the tables that the batches of the others are for.
std::vector<NftFamily> familiesOf(const Layout& layout);
// The table of the batch's family with these ports and nodes and nothing else, whether it was there
// before, with these `chains`, or not. What stays is not deleted and made anew: between the hooks
// of an old table and those of a new one that takes its place in the same batch a packet finds
// neither (about one connection in a hundred such batches was refused). Sets of other types than
// these fail the batch.
void buildTable(NftBatch& batch, const Layout& layout, const MeshFacts& mesh,
                const std::vector<std::string>& chains, const std::vector<PortChange>& ports,
                const std::set<Ipv4>& nodes);
// Chains of the table that have rules, whatever is published.
std::vector<std::string> lastingChains();
// What leads from `before` to `after`, no more.
void buildChange(NftBatch& batch, const PortChange& change);
void buildNodes(NftBatch& batch, const std::set<Ipv4>& before, const std::set<Ipv4>& after);
// Of the family netdev; whether the table is there or not.
void buildEgress(NftBatch& batch, const Layout& layout);

}  // namespace orch::network::ingress
