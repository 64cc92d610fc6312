// A plan, for people.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "output.h"

namespace orch::cli {

void printPlan(Output& out, schema::Plan::Reader plan);

}  // namespace orch::cli
