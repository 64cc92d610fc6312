// The key that managers which start again wait for.
#pragma once

#include <kj/string.h>

namespace orch::cli {

class Output;

// And what it is for; nothing if there is none.
void printUnlockKey(Output& out, kj::StringPtr key);

}  // namespace orch::cli
