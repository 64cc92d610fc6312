// Who a pid is: processes are only ever taken over or ended after they have been recognised.
#pragma once

#include <kj/io.h>

#include <cstdint>
#include <string>
#include <vector>

namespace orch::runtime {

// A process that can be recognised again in this boot, whatever its pid means later.
struct ProcessName {
  int pid = 0;
  uint64_t startTicks = 0;  // field 22 of /proc/<pid>/stat
};

// Of the running kernel; the same until the next boot.
std::string bootId();
// Clock ticks since boot at which the process started; 0 if there is none. Fails if that cannot be
// found out.
uint64_t startTicks(int pid);
int parentOf(int pid);  // 0: there is no such process
// A pidfd of the process that has this pid and start time; null if that one is gone. Fails if that
// cannot be found out, as without a free descriptor.
kj::Maybe<kj::AutoCloseFd> openProcess(ProcessName process);
bool hasEnded(int pidfd);
// It has ended, or is just ending: the first process of a pid namespace takes its time for that,
// until all others are gone, too.
bool isEnding(ProcessName process);
// SIGKILL etc. by pidfd. False if it is gone.
bool sendSignal(int pidfd, int number);
// Pids of all processes one of whose arguments is `argument` itself or a path below it. The way to
// find the conmon of a bundle, and a `create` that is still at work on it.
std::vector<int> processesWithArgument(const std::string& argument);
bool hasArgument(int pid, const std::string& argument);
// Whether the process has the file open, which is there.
bool hasOpen(int pid, const std::string& path);
// True if the process runs one of these programs, given by path: by its executable, or by its first
// arguments, since that may be an interpreter, or the copy that crun and runc make of themselves.
bool runsOneOf(int pid, const std::vector<std::string>& programs);

}  // namespace orch::runtime
