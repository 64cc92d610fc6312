// What is going on in a container, by its cgroups: what it has used, and its processes.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "cgroups.h"
#include "file-access.h"
#include "orch/attempt.h"

namespace orch::runtime {

namespace {

// Cgroups below a container's that are looked into, as those of an init system in it.
constexpr size_t MAX_BELOW = 1000;
// v1 says "unlimited" by a number near 2^63 that depends on the page size.
constexpr int64_t NO_LIMIT = INT64_MAX / 2;

// "" if it cannot be read: the cgroup may go at any moment.
std::string contentOf(const std::string& path) {
  std::string text;
  attemptNow([&] {
    KJ_IF_MAYBE (content, readIfThere(path)) text = content->cStr();
  });
  return text;
}

int64_t numberIn(const std::string& path) {
  auto text = contentOf(path);
  bool digit = !text.empty() && text[0] >= '0' && text[0] <= '9';
  return digit ? static_cast<int64_t>(
                     std::min<uint64_t>(strtoull(text.c_str(), nullptr, 10), INT64_MAX))
               : -1;
}

// Behind `key` in lines of `key number`; -1 if it is not there.
int64_t valueOf(const std::string& text, const char* key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    auto space = line.find(' ');
    if (space == std::string::npos || line.compare(0, space, key) != 0) continue;
    return static_cast<int64_t>(
        std::min<uint64_t>(strtoull(line.c_str() + space, nullptr, 10), INT64_MAX));
  }
  return -1;
}

int64_t lowest(int64_t one, int64_t other) {
  if (one < 0) return other;
  return other < 0 ? one : std::min(one, other);
}

// As docker counts it, and the kernel's own tools: files that were not used lately do not count.
int64_t withoutCache(int64_t bytes, int64_t inactive) {
  if (bytes < 0 || inactive < 0) return bytes;
  return std::max<int64_t>(0, bytes - inactive);
}

void addBelow(const std::string& path, std::vector<std::string>& paths) {
  std::error_code error;
  paths.push_back(path);
  for (auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (paths.size() >= MAX_BELOW) return;
    if (entry.is_directory(error) && !entry.is_symlink(error)) addBelow(entry.path(), paths);
  }
}

}  // namespace

CgroupUsage Cgroups::usage(const std::string& id) const {
  switch (layout) {
    case CgroupMode::NONE:
      return {};
    case CgroupMode::V1:
    case CgroupMode::HYBRID:
      return usageV1(pathOf(id));
    case CgroupMode::V2:
      return usageV2(root + pathOf(id));
  }
  return {};
}

CgroupUsage Cgroups::usageV1(const std::string& path) const {
  CgroupUsage usage;
  usage.cpuNs = numberIn(root + "/cpuacct" + path + "/cpuacct.usage");
  auto memory = root + "/memory" + path;
  auto statistics = contentOf(memory + "/memory.stat");
  usage.memoryBytes = withoutCache(numberIn(memory + "/memory.usage_in_bytes"),
                                   valueOf(statistics, "total_inactive_file"));
  auto limit = lowest(numberIn(memory + "/memory.limit_in_bytes"),
                      valueOf(statistics, "hierarchical_memory_limit"));
  if (limit < NO_LIMIT) usage.memoryLimitBytes = limit;
  usage.pids = numberIn(root + "/pids" + path + "/pids.current");
  auto disks = root + "/blkio" + path + "/blkio.throttle.io_service_bytes";
  auto text = contentOf(disks + "_recursive");
  if (text.empty()) text = contentOf(disks);
  if (text.empty()) return usage;
  usage.readBytes = usage.writtenBytes = 0;
  std::istringstream lines(text);
  std::string device, what;
  for (uint64_t bytes; lines >> device >> what >> bytes;) {
    if (what == "Read") usage.readBytes += static_cast<int64_t>(bytes);
    if (what == "Write") usage.writtenBytes += static_cast<int64_t>(bytes);
  }
  return usage;
}

CgroupUsage Cgroups::usageV2(const std::string& path) const {
  CgroupUsage usage;
  auto micros = valueOf(contentOf(path + "/cpu.stat"), "usage_usec");
  if (micros >= 0) usage.cpuNs = micros * 1000;
  usage.memoryBytes = withoutCache(numberIn(path + "/memory.current"),
                                   valueOf(contentOf(path + "/memory.stat"), "inactive_file"));
  usage.memoryLimitBytes = numberIn(path + "/memory.max");  // or `max`
  usage.pids = numberIn(path + "/pids.current");
  // Empty until something was read or written; not there without the controller.
  if (!exists(path + "/io.stat")) return usage;
  usage.readBytes = usage.writtenBytes = 0;
  std::istringstream words(contentOf(path + "/io.stat"));
  for (std::string word; words >> word;) {
    auto number = [&](const char* key) -> int64_t {
      if (word.compare(0, strlen(key), key) != 0) return 0;
      return static_cast<int64_t>(strtoull(word.c_str() + strlen(key), nullptr, 10));
    };
    usage.readBytes += number("rbytes=");
    usage.writtenBytes += number("wbytes=");
  }
  return usage;
}

std::vector<int> Cgroups::allProcesses(const std::string& id) const {
  auto all = processes(id);
  for (auto& hierarchy : hierarchies()) {
    std::vector<std::string> paths;
    if (exists(hierarchy + pathOf(id))) addBelow(hierarchy + pathOf(id), paths);
    for (size_t i = 1; i < paths.size(); ++i) {  // its own were asked for already
      std::istringstream lines(contentOf(paths[i] + "/cgroup.procs"));
      for (int pid; lines >> pid;) all.push_back(pid);
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

}  // namespace orch::runtime
