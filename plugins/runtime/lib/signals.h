// Names of signals as users write them.
#pragma once

#include <kj/string.h>

namespace orch::runtime {

// `SIGTERM`, `term`, `15` or `RTMIN+3`; empty is SIGTERM. Fails with a text that names the input.
int signalNumber(kj::StringPtr name);

}  // namespace orch::runtime
