// What a service was before: the last few of its specs, which users go back to by their numbers.
// The newest is the spec before, which the service has in any case. Pure.
#pragma once

#include <string>

#include "state/view.h"

namespace orch::control::manager {

inline constexpr uint32_t MAX_PAST_SPECS = 5;
// Of those that are older than the spec before: what does not fit goes, the oldest first.
inline constexpr size_t MAX_PAST_BYTES = 32 << 10;

// Of the spec that the service has now.
uint64_t specNumber(schema::Service::Reader service);
// Before `service` gets another spec: the one that it has becomes the newest past one. `left`: what
// was the matter with it, if nobody chose to leave it.
void keepPast(schema::Service::Builder service, const std::string& left);
// The past spec of that number; fails with those that there are.
schema::ServiceSpec::Reader pastSpec(schema::Service::Reader service, uint64_t number);
// How many tasks there are is no part of what one goes back to.
void setPastReplicas(schema::Service::Builder service, uint32_t replicas);

}  // namespace orch::control::manager
