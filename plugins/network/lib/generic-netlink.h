// Generic netlink: families that have a name, and a number that the kernel gives them when they are
// loaded. Blocking, for worker threads.
#pragma once

#include <kj/string.h>

#include <optional>

#include "lib/netlink.h"

namespace orch::network {

// The number of the family; nothing if the kernel has no such, neither built in nor loaded, and
// cannot load it by itself. `socket` is one of NETLINK_GENERIC.
std::optional<uint16_t> genericFamily(NetlinkSocket& socket, kj::StringPtr name);

// A request to it; attributes follow.
NetlinkMessage newGeneric(uint16_t family, uint8_t version, uint8_t command, uint16_t flags,
                          kj::String what);
// The attributes of an answer.
NetlinkAttributes genericAttributes(const nlmsghdr* answer);

}  // namespace orch::network
