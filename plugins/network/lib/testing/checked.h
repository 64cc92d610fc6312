// What a plugin of the kind `network` answers when it is asked whether the kernel has what it
// should.
#pragma once

#include <string>
#include <vector>

#include "orch/schema/network.capnp.h"

namespace orch::network {

// "bridge orch0: present, found nothing", with " repaired" at the end if it was.
std::vector<std::string> linesOf(capnp::List<schema::NetworkFinding>::Reader findings);

}  // namespace orch::network
