// `[node] discovery`: a plugin for each URI, and the one that unites them.
#pragma once

#include "kernel/config/manifest.h"

namespace orch::config {

// Checks the scheme of one URI; the rest is its plugin's. Fails with file, line and what is
// accepted.
void checkDiscoveryUri(const Value& uri);

// Adds `discovery.file#1`, `discovery.token#2` … in the order of the URIs, each with its `uri` as
// setting, and `control.discovery` unless the manifest has it. Fails if one of these ids is taken.
void addDiscoveryPlugins(Manifest& manifest);

}  // namespace orch::config
