// Whether the kernel leads published ports as the books say: read, never changed.
#pragma once

#include <set>
#include <vector>

#include "layout.h"
#include "lib/findings.h"
#include "mesh.h"
#include "port-table.h"
#include "rules.h"

namespace orch::network::ingress {

struct WantedPorts {
  bool table = false;  // there is to be one
  MeshFacts mesh;
  std::vector<PortChange> ports;  // all of them
  std::set<Ipv4> inTable;         // other nodes
  std::set<Ipv4> met;             // nodes that the mesh knows the way to
};

// Blocking: for worker threads in the node's network namespace; nothing may change it meanwhile.
// What is more than it should be in routes and forwarding entries is not looked for: connections go
// on by it.
Findings checkPublished(const Layout& layout, const WantedPorts& wanted);

}  // namespace orch::network::ingress
