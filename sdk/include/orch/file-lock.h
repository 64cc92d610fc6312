// One owner at a time of a folder: an advisory lock on a file in it.
#pragma once

namespace orch {

// Takes the exclusive flock(2) of the open file `fd`; false if another process keeps it. Blocks for
// up to three seconds: a process that was killed lets go of its files only some time after it has
// stopped running, and the one that takes its place must not be turned away meanwhile. Fails on any
// other error.
bool lockFile(int fd);

}  // namespace orch
