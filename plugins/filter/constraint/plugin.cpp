#include "config.capnp.h"
#include "constraint.h"

namespace orch::filter::constraint {
using ConstraintPlugin = FilterPlugin<CONSTRAINT, Config>;
}  // namespace orch::filter::constraint

ORCH_PLUGIN("filter", "constraint", "1.0.0", orch::filter::constraint::ConstraintPlugin,
            orch::filter::constraint::Config)
