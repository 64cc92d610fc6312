// What cgroup hierarchies this host has, whether a runtime can work with them, and the cgroups of
// one container. The root is a path, so that all of it is tested against folders.
#pragma once

#include <kj/string.h>

#include <string>
#include <vector>

namespace orch::runtime {

enum class CgroupMode { NONE, V1, HYBRID, V2 };

// What the processes of a cgroup have used, as in sdk/schema/runtime.capnp. -1: the host has no
// such controller, or the cgroup is gone.
struct CgroupUsage {
  int64_t cpuNs = -1;
  int64_t memoryBytes = -1;
  int64_t memoryLimitBytes = -1;  // also if it has none
  int64_t readBytes = -1;
  int64_t writtenBytes = -1;
  int64_t pids = -1;
};

class Cgroups final {
 public:
  // Reads the layout once. `root` is /sys/fs/cgroup, `parent` the cgroup above all containers.
  Cgroups(std::string root, std::string parent);

  CgroupMode mode() const { return layout; }
  kj::StringPtr modeName() const;  // `v1`, `hybrid`, `v2`, `none`

  struct Needs {
    kj::StringPtr runtime;      // for the text
    bool refusesHybrid;         // the v2 hierarchy of a hybrid host must have no controllers
    kj::StringPtr alternative;  // `runtime.runc`, or empty
  };
  // Null if it can work here; else one line: what is in the way and the remedy.
  kj::Maybe<kj::String> whyNot(const Needs& needs) const;

  // Of the container, as an absolute cgroup path.
  std::string pathOf(const std::string& id) const { return parent + "/" + id; }
  // True if the kernel killed something in it for lack of memory. False once the cgroup is gone.
  bool oomKilled(const std::string& id) const;
  bool limitsSwap() const;
  // Pids of all processes in it, in any hierarchy. Fails if they cannot be read.
  std::vector<int> processes(const std::string& id) const;
  // The same, with those of the cgroups that its own processes have made below it. Sorted.
  std::vector<int> allProcesses(const std::string& id) const;
  CgroupUsage usage(const std::string& id) const;
  // Removes the empty cgroups of `id` in all hierarchies; false if one is still in use.
  bool remove(const std::string& id) const;
  // The parent itself, if nothing is left in it.
  void removeParent() const;

 private:
  kj::Maybe<kj::String> whyNotBelow() const;
  CgroupUsage usageV1(const std::string& path) const;
  CgroupUsage usageV2(const std::string& path) const;
  std::vector<std::string> hierarchies() const;
  std::string root;
  std::string parent;
  CgroupMode layout = CgroupMode::NONE;
};

}  // namespace orch::runtime
