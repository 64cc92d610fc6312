// What one spec of a service has otherwise than another, in a few words.
#pragma once

#include <kj/string.h>

#include "orch/schema/objects.capnp.h"

namespace orch::cli {

// `image web:1 -> web:2, replicas 3 -> 5, env +A -B`; empty: nothing. Fields by the names of
// sdk/schema, without their units; of what is long only that it is another.
kj::String differenceText(schema::ServiceSpec::Reader before, schema::ServiceSpec::Reader after);

}  // namespace orch::cli
