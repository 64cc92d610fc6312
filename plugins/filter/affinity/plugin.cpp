#include "affinity.h"
#include "config.capnp.h"

namespace orch::filter::affinity {
using AffinityPlugin = FilterPlugin<AFFINITY, Config>;
}  // namespace orch::filter::affinity

ORCH_PLUGIN("filter", "affinity", "1.0.0", orch::filter::affinity::AffinityPlugin,
            orch::filter::affinity::Config)
