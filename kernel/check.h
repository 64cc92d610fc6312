// What orchd answers about files without a node: `orchd --check` and `orchd --inspect`.
#pragma once

#include "kernel/config/manifest.h"
#include "kernel/plugin/entry-check.h"

namespace orch::check {

// Prints that the manifest is valid, with what is worth knowing about each plugin. Fails at the
// first setting that is not, also if only its plugin knows that. The exit status. As JSON: {file,
// valid, plugins: [{id, file}]}. Blocks. The arguments outlive the task.
Task<int> checkManifest(Env& env, const config::Manifest& manifest,
                        const plugin::PluginPlaces& places, const std::string& file, bool json);
// The same for one that is not valid, with why not; as JSON only: {file, valid, problem}.
void printInvalid(const std::string& file, const std::string& problem);
// Prints descriptor and settings of a plugin's file. The exit status. As JSON: {id, version, file,
// sdkVersion, abiId, runsInKernel, requires, calls, capabilities, settings}.
int inspectPlugin(const std::string& path, bool json);

}  // namespace orch::check
