#include "binpack.h"
#include "config.capnp.h"
#include "lib/strategy-plugin.h"

namespace orch::scheduler::binpack {
using Binpack = StrategyPlugin<RANKING, Config>;
}  // namespace orch::scheduler::binpack

ORCH_PLUGIN("scheduler", "binpack", "1.0.0", orch::scheduler::binpack::Binpack,
            orch::scheduler::binpack::Config)
