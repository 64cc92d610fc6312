// The OCI configuration (config.json) of a container. Pure.
#pragma once

#include <string>
#include <vector>

#include "checked-request.h"
#include "users.h"

namespace orch::runtime {

struct BundleMount {
  std::string target;
  std::string type;  // `bind`, `tmpfs`
  std::string source;
  std::vector<std::string> options;
};

// What a container's limits can be raised to.
struct RlimitCeiling {
  uint64_t openFiles = 1 << 20;  // the kernel's limit of a process, fs.nr_open
  uint64_t processes = ~uint64_t(0);
  uint64_t coreBytes = ~uint64_t(0);
};

struct BundleInput {
  schema::ContainerRequest::Reader request;
  const CheckedRequest& checked;
  UserIds user;
  std::string rootfs;
  std::string cgroupPath;
  std::vector<BundleMount> mounts;  // files of /etc, an init, then the user's
  std::string seccompFilter;        // base64, for crun; empty: the profile is written out
  bool limitsSwap = true;           // the host can
  RlimitCeiling ceiling;
  std::vector<std::string> hiddenPaths;  // of this host's processors, masked as well
  bool hasCgroupNamespace = true;
};

// As docker writes it: its mounts, masked and read-only paths, devices, capabilities and seccomp
// profile. Labels become annotations, except those that steer the runtime itself (`run.oci.*`).
std::string ociConfig(const BundleInput& input);

// cpu.cfs_quota_us and cpu.cfs_period_us for so many billionths of a core. The kernel takes no
// quota below 1 ms, so small shares get the long period.
struct CpuQuota {
  int64_t quotaUs;
  uint64_t periodUs;
};
CpuQuota cpuQuota(uint64_t nanos);

}  // namespace orch::runtime
