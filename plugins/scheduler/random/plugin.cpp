#include "config.capnp.h"
#include "lib/strategy-plugin.h"
#include "random.h"

namespace orch::scheduler::random {
using Random = StrategyPlugin<RANKING, Config>;
}  // namespace orch::scheduler::random

ORCH_PLUGIN("scheduler", "random", "1.0.0", orch::scheduler::random::Random,
            orch::scheduler::random::Config)
