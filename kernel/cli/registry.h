// What the user's registries say to a login.
#pragma once

#include "orch/env.h"
#include "orch/schema/image.capnp.h"

namespace orch::cli {

// Asks the registry, by way of skopeo, which knows all the ways in which registries take logins.
// Fails if the registry does not take this one or cannot be asked.
Task<void> checkLogin(Env& env, schema::RegistryLogin::Reader login, bool verifyTls);

}  // namespace orch::cli
