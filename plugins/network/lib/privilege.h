// What a plugin may do here, found out before it tries.
#pragma once

#include <kj/string.h>

namespace orch::network {

// Which of the capabilities that networks need the calling thread lacks: "CAP_NET_ADMIN and
// CAP_SYS_ADMIN"; nothing if it has both.
kj::Maybe<kj::String> missingPrivilege();

}  // namespace orch::network
