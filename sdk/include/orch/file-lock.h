// One owner at a time of a folder: an advisory lock on a file in it.
#pragma once

#include <kj/function.h>
#include <kj/io.h>
#include <kj/string.h>

#include <string>

namespace orch {

// Takes the exclusive flock(2) of the open file `fd`; false if another process keeps it. Blocks for
// up to three seconds: a process that was killed lets go of its files only some time after it has
// stopped running, and the one that takes its place must not be turned away meanwhile. Fails on any
// other error.
bool lockFile(int fd);

// The lock of what `path` stands for, a file that is made if need be, stays, and holds its owner's
// pid. Held for as long as the descriptor is open, also against others in the same process. Fails
// with `inUse(pid)` if another keeps it.
kj::AutoCloseFd lockOwned(const std::string& path,
                          kj::FunctionParam<kj::String(kj::StringPtr pid)> inUse);

}  // namespace orch
