// The settings of runtime.crun and runtime.runc, and what is different between the two.
#pragma once

#include <kj/string.h>

#include <cstdint>
#include <string>
#include <thread>

#include "orch/fail.h"

namespace orch::runtime {

struct Options {
  std::string name;     // `crun`
  std::string program;  // path or name of the OCI runtime
  std::string conmon;
  std::string cgroupRoot;
  std::string cgroupParent;
  unsigned parallelism = 4;
  uint64_t prepareTimeoutMs = 300'000;
  uint64_t createTimeoutMs = 60'000;
  uint64_t killTimeoutMs = 10'000;
  uint64_t commandTimeoutMs = 60'000;
  uint64_t logCheckMs = 1'000;
  bool filterByAnnotation = false;  // takes a finished seccomp filter
  bool refusesHybrid = false;
  std::string alternative;  // what to use instead on such a host

  // `program` is the one that the plugin is named after, and not another in its place.
  bool isItself() const { return program.substr(program.rfind('/') + 1) == name; }
};

// `Settings` is the Config::Reader of either plugin: their fields are the same.
template <typename Settings>
Options optionsFrom(kj::StringPtr name, Settings settings) {
  Options options;
  options.name = name.cStr();
  options.program = settings.getProgram().cStr();
  options.conmon = settings.getConmon().cStr();
  options.cgroupRoot = settings.getCgroupRoot().cStr();
  options.cgroupParent = settings.getCgroupParent().cStr();
  options.prepareTimeoutMs = settings.getPrepareTimeoutMs();
  options.createTimeoutMs = settings.getCreateTimeoutMs();
  options.killTimeoutMs = settings.getKillTimeoutMs();
  options.commandTimeoutMs = settings.getCommandTimeoutMs();
  options.logCheckMs = settings.getLogCheckMs();
  options.parallelism = settings.getParallelism();
  if (options.parallelism == 0) {
    options.parallelism = 2 * std::max(1u, std::thread::hardware_concurrency());
  }
  if (options.program.empty()) fail(kj::str("program must name a program, as ", name));
  if (options.conmon.empty()) fail(kj::str("conmon must name a program, as conmon"));
  if (options.cgroupRoot.empty() || options.cgroupRoot[0] != '/') {
    fail(kj::str("cgroupRoot '", options.cgroupRoot.c_str(),
                 "' must be an absolute path such as /sys/fs/cgroup"));
  }
  auto& parent = options.cgroupParent;
  if (parent.size() < 2 || parent[0] != '/' || parent.back() == '/' ||
      parent.find("/..") != std::string::npos) {
    fail(kj::str("cgroupParent '", parent.c_str(), "' must be an absolute cgroup such as /orch"));
  }
  return options;
}

}  // namespace orch::runtime
