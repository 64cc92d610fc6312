// How a task's health follows from its checks, by docker's rules: the image's check under the
// spec's, and what one that succeeds or fails means. Pure.
#pragma once

#include <cstdint>

#include "orch/schema/objects.capnp.h"

namespace orch::control::agent {

// What holds for a container: of each setting the spec's, else the image's, else the default. `to`
// has no test if there is no check.
void settleHealthCheck(schema::HealthCheck::Reader spec, schema::HealthCheck::Reader image,
                       schema::HealthCheck::Builder to);

class HealthState final {
 public:
  enum class Change { NONE, HEALTHY, UNHEALTHY };

  // `check` is a settled one. `health`: of a task that an earlier agent has looked after.
  HealthState(schema::HealthCheck::Reader check, schema::Health health);

  // Of a check that began so long after the container's start.
  Change passed();
  Change failed(uint64_t sinceStartMs);

  // From the end of one, or from the start, to the next, so long after the container's start.
  uint64_t pauseMs(uint64_t sinceStartMs) const;
  schema::Health health() const { return now; }
  uint32_t failures() const { return failedInARow; }

 private:
  uint64_t intervalMs;
  uint64_t startPeriodMs;
  uint64_t startIntervalMs;
  uint32_t retries;
  schema::Health now;
  uint32_t failedInARow = 0;  // of those that count
};

}  // namespace orch::control::agent
