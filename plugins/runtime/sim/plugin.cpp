#include "sim-plugin.h"

ORCH_PLUGIN("runtime", "sim", "1.0.0", orch::runtime::sim::SimPlugin, orch::runtime::sim::Config)
