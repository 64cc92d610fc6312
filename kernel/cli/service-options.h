// The flags of `service create` and `service update`: docker's names, and a few of orch's own.
#pragma once

#include "arguments.h"
#include "orch/schema/objects.capnp.h"

namespace orch::cli {

kj::ArrayPtr<const Option> serviceCreateOptions();
kj::ArrayPtr<const Option> serviceUpdateOptions();

// Part of applyOptions (service-spec.h): the flags with one value that say no more than their field
// of the spec.
void applyFlags(const Arguments& args, schema::ServiceSpec::Builder spec);

}  // namespace orch::cli
