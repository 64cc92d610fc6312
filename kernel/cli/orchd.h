// What orchd does for this program without running as a daemon: checks that need the kernel's code.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

namespace orch::cli {

// Turns this process into `orchd` with these arguments: the one beside this program, else that of
// PATH. Fails if there is none.
[[noreturn]] void becomeOrchd(kj::Array<kj::String> arguments);

}  // namespace orch::cli
