// Published ports: conflicts within a spec and with other services, and a free one of 30000-32767
// where a spec leaves the choice. Pure.
#pragma once

#include "state/view.h"

namespace orch::control::manager {

// The ports of `spec` with the chosen published ones. `serviceId` (empty: a new one) keeps what
// it has been given before. Fails with a text that names the other service and the port.
std::vector<uint16_t> allocatePorts(View& view, schema::ServiceSpec::Reader spec,
                                    std::string_view serviceId);

}  // namespace orch::control::manager
