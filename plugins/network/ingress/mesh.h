// The way by which connections reach tasks of other nodes: a VXLAN device, a routing table of its
// own for what is marked (rules.h), and who is where. Blocking: for worker threads, in the node's
// network namespace. Everything may be repeated.
#pragma once

#include <set>

#include "layout.h"
#include "rules.h"

namespace orch::network::ingress {

// Makes the device if it is not there, or is another's, or of another address. Fails, with the
// reason, on a kernel that lacks something of it (Linux 5.16 has all).
void prepareMesh(const Layout& layout, const MeshFacts& before, const MeshFacts& facts);
void removeMesh(const Layout& layout, const MeshFacts& facts);
// Leads what is sent to these nodes there. Nodes that are not named stay known: they may have
// connections that go on.
void meetNodes(const Layout& layout, const std::set<Ipv4>& nodes);

}  // namespace orch::network::ingress
