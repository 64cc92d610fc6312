// Whether plugins take their settings, before anything of them is used: for `orchd --check` and for
// a reload.
#pragma once

#include <optional>
#include <vector>

#include "kernel/plugin/entry-check.h"

namespace orch::plugin {

// Of each entry what `checkEntry` finds, in order. Blocks.
std::vector<std::optional<CheckedEntry>> checkEntries(
    const std::vector<config::PluginEntry>& entries, const PluginPlaces& places);

// Each plugin that `found` has a file of is configured, which touches nothing outside, in a process
// of its own without any rights, and is let go. Fails with what the first one in order says, as a
// start would. All arguments outlive the task.
Task<void> checkSettings(Env& env, const std::vector<config::PluginEntry>& entries,
                         const std::vector<std::optional<CheckedEntry>>& found,
                         const PluginPlaces& places, const config::NodeEntry& node);

}  // namespace orch::plugin
