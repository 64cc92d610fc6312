#include "config.capnp.h"
#include "lib/strategy-plugin.h"
#include "spread.h"

namespace orch::scheduler::spread {
using Spread = StrategyPlugin<RANKING, Config>;
}  // namespace orch::scheduler::spread

ORCH_PLUGIN("scheduler", "spread", "1.0.0", orch::scheduler::spread::Spread,
            orch::scheduler::spread::Config)
