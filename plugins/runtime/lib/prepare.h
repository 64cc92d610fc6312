// From a request to a bundle on disk that conmon and the OCI runtime can be started on, and back.
// All of it blocks: for worker threads.
#pragma once

#include <memory>

#include "bundle.h"
#include "cgroups.h"
#include "layout.h"
#include "options.h"
#include "orch/schema/runtime.capnp.h"
#include "seccomp-profile.h"
#include "volumes.h"

namespace orch::runtime {

// Shared by the plugin and its jobs on worker threads; nothing in it changes but the cache, which
// locks itself.
struct BundleMaker {
  BundleMaker(Layout layout, Options options, std::string instance);

  Layout layout;
  Options options;
  Cgroups cgroups;
  VolumeFolder volumes;
  std::string bootId;
  RlimitCeiling ceiling;
  std::vector<std::string> hiddenPaths;  // thermal state of each processor
  SeccompCache filters;

  // Checks the request, writes the record first and then everything else, mounts the root file
  // system. On failure things may be left, for `takeAway`. Returns the record.
  kj::Array<capnp::word> prepare(schema::ContainerRequest::Reader request, int64_t nowNs);
  // Mounts, cgroups and files of a container whose processes are gone; the record last. Gone
  // already is success.
  void takeAway(const std::string& id);
  // Ends every process that belongs to `id` and waits for that: conmon, a `create` at work, what is
  // in its cgroup. For half-made containers.
  void endProcesses(const std::string& id);
};

}  // namespace orch::runtime
