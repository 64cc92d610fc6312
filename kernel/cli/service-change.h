// What the commands that change services have in common.
#pragma once

#include "arguments.h"
#include "command.h"
#include "orch/schema/cluster.capnp.h"
#include "output.h"
#include "progress.h"

namespace orch::cli {

// Warnings of the server, one line each, to stderr.
void printWarnings(Output& out, capnp::List<capnp::Text>::Reader warnings);

// With --with-registry-auth the user's login for the registry of the image; a warning if there is
// none.
void addLogin(Context& context, kj::StringPtr image, schema::RegistryLogin::Builder login);

// How long a service has to stay converged: --verify, or as long as docker waits.
uint64_t verifyMs(const Arguments& args);
inline constexpr Option VERIFY_OPTION = {
    "--verify", "DURATION", "How long tasks have to stay up before it is done (default 5s)"};

// Whether there is anything to wait for: a job with a schedule may have no run under way.
bool hasAim(schema::Service::Reader service);

// The rest of a command once the cluster has been told: waits for each, unless --detach was given,
// and quietly with --quiet or --json. The exit status.
Task<int> finishChange(Context& context, kj::Vector<Wait> waits);

// A name such as `calm_heron` for a service that was given none. From `random`.
kj::String inventedName(uint64_t random);

}  // namespace orch::cli
