#include "host-usage.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

namespace orch::control::agent {

namespace {

std::string textOf(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// `MemTotal:  2048 kB` in bytes; -1 if it is not there.
int64_t bytesOf(const std::string& meminfo, const std::string& key) {
  auto at = meminfo.find(key + ":");
  if (at == std::string::npos) return -1;
  int64_t kibibytes = -1;
  std::istringstream(meminfo.substr(at + key.size() + 1)) >> kibibytes;
  return kibibytes < 0 ? -1 : kibibytes * 1024;
}

}  // namespace

HostUsage parseHostUsage(const std::string& stat, const std::string& meminfo) {
  HostUsage usage;
  std::istringstream words(stat);
  std::string name;
  // proc(5): in all states but idle, iowait and steal. Those of guests are in user and nice.
  uint64_t user, nice, system, idle, iowait, irq, softirq;
  if (words >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq) {
    auto nsPerTick = 1'000'000'000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
    usage.cpuNs = static_cast<int64_t>((user + nice + system + irq + softirq) * nsPerTick);
  }
  auto total = bytesOf(meminfo, "MemTotal"), available = bytesOf(meminfo, "MemAvailable");
  if (total >= 0 && available >= 0) usage.memoryBytes = total - available;
  return usage;
}

HostUsage readHostUsage() { return parseHostUsage(textOf("/proc/stat"), textOf("/proc/meminfo")); }

}  // namespace orch::control::agent
