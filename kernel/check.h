// What orchd answers about files without starting anything: `orchd --check` and `orchd --inspect`.
#pragma once

#include "kernel/config/manifest.h"
#include "kernel/plugin/plugin-runner.h"

namespace orch::check {

// Prints that the manifest is valid, with what is worth knowing about each plugin. Fails at the
// first setting that is not. The exit status.
int checkManifest(const config::Manifest& manifest, const plugin::PluginPlaces& places,
                  const std::string& file);
// Prints descriptor and settings of a plugin's file. The exit status.
int inspectPlugin(const std::string& path);

}  // namespace orch::check
