// Whether the kernel has a network as the book says: read, never changed.
#pragma once

#include <string>

#include "book.h"
#include "layout.h"
#include "lib/findings.h"

namespace orch::network::overlay {

// `wanted`: all that the network is to be on this node (NetworkBook::whole). Blocking: for worker
// threads in the node's network namespace; nothing may change the network meanwhile.
Findings checkNetwork(const Layout& layout, const std::string& network,
                      const SandboxChange& wanted);

}  // namespace orch::network::overlay
