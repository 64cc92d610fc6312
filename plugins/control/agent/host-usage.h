// How busy the node is, as its kernel tells it.
#pragma once

#include <cstdint>
#include <string>

namespace orch::control::agent {

struct HostUsage {
  int64_t cpuNs = -1;        // that its cores were busy since it was switched on; -1: not known
  int64_t memoryBytes = -1;  // that cannot be given to others at once
};

// From texts as of /proc/stat and /proc/meminfo.
HostUsage parseHostUsage(const std::string& stat, const std::string& meminfo);
// Blocks: for worker threads.
HostUsage readHostUsage();

}  // namespace orch::control::agent
