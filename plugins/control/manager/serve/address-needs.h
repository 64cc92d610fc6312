// Whether a service's networks have addresses for all of it: what has not is refused when it is
// asked for, before there are tasks that would wait for ever.
#pragma once

#include "state/view.h"

namespace orch::control::manager {

// Fails if the service would need more addresses of a network than that has beside what its other
// services need. One that needs no more of it than it did `before` may do so.
void checkAddresses(const View& view, schema::ServiceSpec::Reader spec,
                    kj::Maybe<schema::ServiceSpec::Reader> before);

}  // namespace orch::control::manager
