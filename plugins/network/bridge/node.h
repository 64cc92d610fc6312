// What the node has once, for all tasks: the bridge, its address, the switches, the folders.
// Blocking: for worker threads, in the node's network namespace. Everything may be repeated.
#pragma once

#include "layout.h"
#include "lib/rtnetlink.h"

namespace orch::network::bridge {

// All of it. What the last run made under other settings goes: its bridge, its table, its address,
// its MTU. Fails with a text if the subnet is in use elsewhere or the bridge's name is a device of
// another kind.
void prepareNode(const Layout& layout);
// Takes the table away, and the bridge if it is ours.
void removeNode(const Layout& layout);
// The bridge with the gateway's address, made if it is not there.
Link ensureBridge(Rtnetlink& net, const Layout& layout);

}  // namespace orch::network::bridge
