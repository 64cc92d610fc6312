#include "crun.h"

namespace orch::runtime::crun {

Options options(Config::Reader settings) {
  auto options = optionsFrom("crun", settings);
  // crun takes a compiled seccomp filter, which saves it the compiling at each start.
  options.filterByAnnotation = true;
  // libcrun/cgroup.c: "cgroups in hybrid mode not supported, drop all controllers from cgroupv2".
  options.refusesHybrid = true;
  options.alternative = "runtime.runc";
  return options;
}

}  // namespace orch::runtime::crun
