// What the kernel tells of processes in /proc: their namespace's traffic, and what they are. All of
// it blocks: for worker threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "process-table.h"

namespace orch::runtime {

struct NetworkUsage {
  int64_t receivedBytes = -1;  // -1: the process is gone, or is in this host's own namespace
  int64_t sentBytes = -1;
};
// Of the network namespace that the process is in, without its lo.
NetworkUsage networkUsage(ProcessName process);
// The sums of a text as of /proc/PID/net/dev. Public for its test.
NetworkUsage sumOfDevices(const std::string& text);

struct ProcessFacts {
  int pid = 0;
  int parent = 0;
  uint32_t uid = 0;
  uint64_t cpuNs = 0;
  std::string command;  // one line, at most MAX_COMMAND_BYTES
};
inline constexpr size_t MAX_COMMAND_BYTES = 4096;
// Of those that have not ended meanwhile.
std::vector<ProcessFacts> factsOf(const std::vector<int>& pids);

// The user of that number in a text as of /etc/passwd; empty if it has none.
std::string userNamed(const std::string& passwd, uint32_t uid);

}  // namespace orch::runtime
