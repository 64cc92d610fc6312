// The manifest that orchd runs with, as TOML again.
#pragma once

#include <string>

#include "kernel/config/manifest.h"

namespace orch::config {

// [node] with what the manifest and the command line set; with `defaults` everything. `name` is the
// node's own if the manifest has none.
std::string nodeToml(const NodeEntry& node, const std::string& name, bool defaults);
// One [[plugin]]. `isolation` is the one that it has. With `defaults` its settings are `settings`,
// all of them as TOML lines, if they are known.
std::string pluginToml(const PluginEntry& entry, Isolation isolation, const std::string& settings,
                       bool defaults);

}  // namespace orch::config
