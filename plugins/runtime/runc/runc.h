// What is special about runc among the OCI runtimes.
#pragma once

#include "config.capnp.h"
#include "options.h"

namespace orch::runtime::runc {

Options options(Config::Reader settings);

}  // namespace orch::runtime::runc
