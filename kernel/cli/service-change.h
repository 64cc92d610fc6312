// What the commands that change services have in common.
#pragma once

#include "arguments.h"
#include "command.h"
#include "orch/schema/cluster.capnp.h"
#include "output.h"

namespace orch::cli {

// Warnings of the server, one line each, to stderr.
void printWarnings(Output& out, capnp::List<capnp::Text>::Reader warnings);

// How long a service has to stay converged: --verify, or as long as docker waits.
uint64_t verifyMs(const Arguments& args);
inline constexpr Option VERIFY_OPTION = {
    "--verify", "DURATION", "How long tasks have to stay up before it is done (default 5s)"};

// Whether progress is not to be printed: --quiet, or --json.
bool quiet(const Context& context);

// A name such as `calm_heron` for a service that was given none. From `random`.
kj::String inventedName(uint64_t random);

}  // namespace orch::cli
