// The catalog that settings name.
#pragma once

#include "catalog.h"
#include "config.capnp.h"
#include "orch/env.h"
#include "orch/host.h"

namespace orch::integration::registrator {

// Fails, naming the setting, with what is accepted. `env` and `host` outlive it. Nothing outside is
// touched before its `open`.
kj::Own<Catalog> catalogOf(Env& env, Host& host, Config::Reader config);

}  // namespace orch::integration::registrator
