// The health check that a service's SERVICE_CHECK_… ask of consul. Pure.
#pragma once

#include <string>

#include "consul/services.h"
#include "service-entry.h"

namespace orch::integration::registrator {

struct CheckChoice {
  std::vector<orch::consul::ServiceCheck> checks;  // none, or one
  std::string refused;                             // why there is none though one was asked for
};

// `scripts`: whether what a container says may be run on the host, which is what
// SERVICE_CHECK_SCRIPT asks consul's agent for.
CheckChoice checkOf(const ServiceEntry& entry, bool scripts);

}  // namespace orch::integration::registrator
