// The way by which connections reach tasks of other nodes: a VXLAN device, a routing table of its
// own for what is marked (rules.h), and who is where. Blocking: for worker threads, in the node's
// network namespace. Everything may be repeated.
#pragma once

#include <set>
#include <vector>

#include "layout.h"
#include "rules.h"

namespace orch::network::ingress {

// Those of networks begin after it.
constexpr uint32_t MESH_VNI = 4096;
// Of the routing table for what is marked.
constexpr uint32_t MESH_TABLE = 0x6f72;

// Makes what is not there; the device anew if it is of another address. True if something was not
// there: the nodes have to be met again. What is there is not touched, but by the first preparation
// of a run (`first`), which may find another version's. Fails, with the reason, on a kernel that
// lacks something of it (Linux 5.16 has all).
bool prepareMesh(const Layout& layout, const MeshFacts& before, const MeshFacts& facts, bool first);
// Whether there is a device of ours.
bool meshIsThere(const Layout& layout);
// Whether a connection is open to one of these nodes.
bool meshIsInUse(const Layout& layout, const std::vector<Ipv4>& nodes);
void removeMesh(const Layout& layout, const MeshFacts& facts);
// Leads what is sent to these nodes there. Nodes that are not named stay known: they may have
// connections that go on.
void meetNodes(const Layout& layout, const std::set<Ipv4>& nodes);

}  // namespace orch::network::ingress
