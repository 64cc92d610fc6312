// What is special about crun among the OCI runtimes.
#pragma once

#include "config.capnp.h"
#include "options.h"

namespace orch::runtime::crun {

Options options(Config::Reader settings);

}  // namespace orch::runtime::crun
