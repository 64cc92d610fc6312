// From flags to a ServiceSpec. All values are checked here, before anything is sent.
#pragma once

#include "arguments.h"
#include "entry.h"
#include "orch/schema/objects.capnp.h"

namespace orch::cli {

// Writes what the flags of `service create` or `service update` say into `spec`, which holds the
// defaults or what the service was. The flags decide which of the two it is: create names a list
// `--env`, update `--env-add` and `--env-rm`. Fails with `usage: …` at the first wrong value.
// Answers what was to be removed and is not there.
kj::Vector<kj::String> applyOptions(const Arguments& args, schema::ServiceSpec::Builder spec,
                                    const LookUp& lookUp);

// The image and the command of `service create`.
void applyOperands(kj::ArrayPtr<const kj::String> operands, schema::ServiceSpec::Builder spec);

}  // namespace orch::cli
