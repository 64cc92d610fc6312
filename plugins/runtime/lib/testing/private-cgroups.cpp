#include "private-cgroups.h"

#include <kj/debug.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace orch::runtime {

namespace {

struct Hierarchy {
  std::string name;  // of its folder
  std::string type;  // cgroup, cgroup2
  std::string options;
};

// From /proc/self/mountinfo: where which hierarchy is mounted now.
std::vector<Hierarchy> mountedHierarchies() {
  std::vector<Hierarchy> result;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::vector<std::string> words;
    for (std::string word; fields >> word;) words.push_back(word);
    size_t dash = 6;
    while (dash < words.size() && words[dash] != "-") ++dash;
    if (dash + 3 >= words.size() || words[4].rfind("/sys/fs/cgroup/", 0) != 0) continue;
    Hierarchy hierarchy{words[4].substr(15), words[dash + 1], ""};
    std::istringstream options(words[dash + 3]);
    for (std::string option; std::getline(options, option, ',');) {
      if (option == "rw" || option == "ro" || option == "xattr") continue;
      if (option.rfind("release_agent=", 0) == 0) continue;
      hierarchy.options += (hierarchy.options.empty() ? "" : ",") + option;
    }
    if (hierarchy.options.rfind("name=", 0) == 0) hierarchy.options = "none," + hierarchy.options;
    result.push_back(hierarchy);
  }
  return result;
}

bool hasName(const std::vector<Hierarchy>& hierarchies, const char* name) {
  for (auto& hierarchy : hierarchies) {
    if (hierarchy.name == name) return true;
  }
  return false;
}

void mountAt(const Hierarchy& hierarchy) {
  std::string path = "/sys/fs/cgroup/" + hierarchy.name;
  KJ_SYSCALL(mkdir(path.c_str(), 0755), path.c_str());
  KJ_SYSCALL(mount("cgroup", path.c_str(), hierarchy.type.c_str(), 0, hierarchy.options.c_str()),
             path.c_str(), hierarchy.options.c_str());
}

}  // namespace

void enterPrivateCgroups() {
  static const bool entered = [] {
    if (access("/sys/fs/cgroup/unified", F_OK) != 0) return true;
    std::vector<Hierarchy> hierarchies = mountedHierarchies();
    // Not the file cgroup.controllers: another test's v1 mount may just be going away.
    std::ifstream file("/proc/cgroups");
    for (std::string line; std::getline(file, line);) {
      if (line.rfind("hugetlb\t", 0) == 0 && !hasName(hierarchies, "hugetlb")) {
        hierarchies.push_back({"hugetlb", "cgroup", "hugetlb"});
      }
    }
    KJ_SYSCALL(unshare(CLONE_NEWNS));
    KJ_SYSCALL(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
    KJ_SYSCALL(mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "mode=755"));
    // The v2 hierarchy last: what is mounted as v1 leaves it.
    for (auto& hierarchy : hierarchies) {
      if (hierarchy.type == "cgroup") mountAt(hierarchy);
    }
    for (auto& hierarchy : hierarchies) {
      if (hierarchy.type == "cgroup2") mountAt({hierarchy.name, "cgroup2", ""});
    }
    return true;
  }();
  (void)entered;
}

}  // namespace orch::runtime
