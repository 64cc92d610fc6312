// Who a pid is: processes are only ever taken over or ended after they have been recognised.
#pragma once

#include <kj/io.h>

#include <cstdint>
#include <string>
#include <vector>

namespace orch::runtime {

// Of the running kernel; the same until the next boot.
std::string bootId();
// Clock ticks since boot at which the process started; 0 if there is none.
uint64_t startTicks(int pid);
// A pidfd of the process that has this pid and start time; null if that one is gone.
kj::Maybe<kj::AutoCloseFd> openProcess(int pid, uint64_t startTicks);
// SIGKILL etc. by pidfd. False if it is gone.
bool sendSignal(int pidfd, int number);
// Pids of all processes one of whose arguments is `argument` itself or a path below it. The way to
// find the conmon of a bundle, and a `create` that is still at work on it.
std::vector<int> processesWithArgument(const std::string& argument);

}  // namespace orch::runtime
