#include "cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "etc-files.h"
#include "file-access.h"

namespace orch::runtime {

namespace {

std::vector<std::string> folders(const std::string& path) {
  std::vector<std::string> names;
  DIR* folder = opendir(path.c_str());
  if (folder == nullptr) return names;
  while (dirent* entry = readdir(folder)) {
    std::string name = entry->d_name;
    struct stat info;
    if (name[0] == '.' || stat((path + "/" + name).c_str(), &info) != 0) continue;
    if (S_ISDIR(info.st_mode)) names.push_back(name);
  }
  closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> words(kj::StringPtr text) {
  std::istringstream stream(text.cStr());
  std::vector<std::string> result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

bool contains(const std::vector<std::string>& list, const char* name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

kj::String list(const std::vector<std::string>& names) {
  kj::Vector<kj::StringPtr> parts;
  for (auto& name : names) parts.add(name.c_str());
  return kj::strArray(parts, ", ");
}

// The number behind `key` in a file of lines `key number`.
uint64_t counter(const std::string& path, const char* key) {
  std::ifstream file(path);
  std::string name;
  uint64_t value;
  while (file >> name >> value) {
    if (name == key) return value;
  }
  return 0;
}

}  // namespace

Cgroups::Cgroups(std::string rootPath, std::string parentPath)
    : root(std::move(rootPath)), parent(std::move(parentPath)) {
  if (exists(root + "/cgroup.controllers")) {
    layout = CgroupMode::V2;
  } else if (hierarchies().empty()) {
    layout = CgroupMode::NONE;
  } else {
    layout = exists(root + "/unified/cgroup.controllers") ? CgroupMode::HYBRID : CgroupMode::V1;
  }
}

kj::StringPtr Cgroups::modeName() const {
  switch (layout) {
    case CgroupMode::NONE:
      return "none";
    case CgroupMode::V1:
      return "v1";
    case CgroupMode::HYBRID:
      return "hybrid";
    case CgroupMode::V2:
      return "v2";
  }
  return "none";
}

kj::Maybe<kj::String> Cgroups::whyNot(const Needs& needs) const {
  if (layout == CgroupMode::NONE) {
    return kj::str("no cgroups are mounted at ", root.c_str(),
                   "; mount cgroup2 there, or the v1 controllers below it");
  }
  if (layout == CgroupMode::V2) {
    auto controllers = words(readSmallFile((root + "/cgroup.controllers").c_str()));
    std::vector<std::string> missing;
    for (auto name : {"cpu", "memory", "pids"}) {
      if (!contains(controllers, name)) missing.push_back(name);
    }
    if (missing.empty()) return whyNotBelow();
    return kj::str("cgroup v2 has no controller ", list(missing),
                   "; enable it in the kernel (or remove cgroup_disable= from its command line)");
  }
  std::vector<std::string> missing;
  for (auto name : {"cpu", "devices", "memory", "pids"}) {
    if (!exists(root + "/" + name + "/cgroup.procs")) missing.push_back(name);
  }
  if (!missing.empty()) {
    return kj::str("cgroup v1 controller ", list(missing), " is not mounted below ", root.c_str(),
                   "; mount it: mount -t cgroup -o ", missing[0].c_str(), " cgroup ", root.c_str(),
                   "/", missing[0].c_str());
  }
  if (layout == CgroupMode::HYBRID && needs.refusesHybrid) {
    auto left = words(readSmallFile((root + "/unified/cgroup.controllers").c_str()));
    if (!left.empty()) {
      return kj::str(needs.runtime, " does not work while cgroup v2 still has controllers (",
                     list(left), "); mount them as v1: mkdir ", root.c_str(), "/", left[0].c_str(),
                     " && mount -t cgroup -o ", left[0].c_str(), " cgroup ", root.c_str(), "/",
                     left[0].c_str(), "; or use ", needs.alternative);
    }
  }
  return nullptr;
}

// Containers need the controllers below the root, where the runtime enables them. The kernel
// refuses that in a cgroup of a container of its own, if processes are in it.
kj::Maybe<kj::String> Cgroups::whyNotBelow() const {
  std::string control = root + "/cgroup.subtree_control";
  auto enabled = words(readSmallFile(control.c_str()));
  std::vector<std::string> missing;
  for (auto name : {"cpu", "memory", "pids"}) {
    if (contains(enabled, name)) continue;
    int fd = open(control.c_str(), O_WRONLY | O_CLOEXEC);
    std::string text = std::string("+") + name;
    bool works = fd >= 0 && write(fd, text.data(), text.size()) == ssize_t(text.size());
    if (fd >= 0) close(fd);
    if (!works) missing.push_back(name);
  }
  if (missing.empty()) return nullptr;
  return kj::str("cgroup v2 controller ", list(missing), " cannot be enabled in ", control.c_str(),
                 ": processes are in that cgroup itself (move them to one below it), or it is "
                 "mounted read-only");
}

std::vector<std::string> Cgroups::hierarchies() const {
  if (layout == CgroupMode::V2) return {root};
  std::vector<std::string> result;
  for (auto& name : folders(root)) {
    std::string path = root + "/" + name;
    if (exists(path + "/cgroup.procs")) result.push_back(path);
  }
  return result;
}

bool Cgroups::oomKilled(const std::string& id) const {
  if (layout == CgroupMode::V2) {
    return counter(root + pathOf(id) + "/memory.events", "oom_kill") > 0;
  }
  return counter(root + "/memory" + pathOf(id) + "/memory.oom_control", "oom_kill") > 0;
}

bool Cgroups::limitsSwap() const {
  if (layout == CgroupMode::V2) {
    // The root has no such file; any cgroup below does if swap is accounted.
    for (auto& name : folders(root)) {
      if (exists(root + "/" + name + "/memory.swap.max")) return true;
    }
    return false;
  }
  return exists(root + "/memory/memory.memsw.limit_in_bytes");
}

std::vector<int> Cgroups::processes(const std::string& id) const {
  std::vector<int> pids;
  for (auto& hierarchy : hierarchies()) {
    KJ_IF_MAYBE (text, readIfThere(hierarchy + pathOf(id) + "/cgroup.procs")) {
      std::istringstream lines(text->cStr());
      for (int pid; lines >> pid;) {
        if (std::find(pids.begin(), pids.end(), pid) == pids.end()) pids.push_back(pid);
      }
    }
  }
  return pids;
}

bool Cgroups::remove(const std::string& id) const {
  bool gone = true;
  for (auto& hierarchy : hierarchies()) {
    std::string path = hierarchy + pathOf(id);
    for (auto& child : folders(path)) rmdir((path + "/" + child).c_str());
    if (rmdir(path.c_str()) != 0 && errno != ENOENT) gone = false;
  }
  return gone;
}

void Cgroups::removeParent() const {
  for (auto& hierarchy : hierarchies()) rmdir((hierarchy + parent).c_str());
}

}  // namespace orch::runtime
