// What a prediction says, in the words of the schema.
#pragma once

#include "plan/prediction.h"

namespace orch::control::manager {

// `view` is what has become of the state, `before` what it is.
void describePlan(const View& view, const View& before, const Prediction& prediction,
                  schema::Plan::Builder plan);
struct Headcount {
  uint32_t desired = 0;
  uint32_t running = 0;  // on nodes that are there
};
Headcount headcountOf(const View& view, const std::string& serviceId);

// A name for what the plan says: the same for the same.
std::string planIdOf(schema::Plan::Reader plan, capnp::List<schema::PlannedChange>::Reader changes);

}  // namespace orch::control::manager
