// What can be said of an entry of the manifest before anything of it runs: its file, what the file
// says of itself, its settings. The same for `orchd --check`, for a reload and for a start.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/config/manifest.h"
#include "kernel/plugin/elf-reader.h"
#include "kernel/plugin/instance.h"

namespace orch::plugin {

// Where the files are. All are searched in order; the last is the installation's own.
struct PluginPlaces {
  std::vector<std::string> folders;
  std::string ownFolder;
  std::string hostProgram;  // orch-plugin-host
};

struct CheckedEntry {
  PluginFile file;
  config::Isolation isolation;
};

// The paths at which the entry's file may be, in order.
std::vector<std::string> candidatesOf(const config::PluginEntry& entry, const PluginPlaces& places);

// Blocks. Nothing if there is no file yet. Fails with the entry's place in the manifest, or with
// the file, and what is wrong; OVERLOADED if the file may still be on its way.
std::optional<CheckedEntry> checkEntry(const config::PluginEntry& entry,
                                       const PluginPlaces& places);

// What to say of an entry without a file; names the plugin that was meant, perhaps. Blocks.
std::string whyMissing(const config::PluginEntry& entry, const PluginPlaces& places);

// What the entry grants of what the file asks for: the rights of a process of its own, and the
// kinds, plugins and services that may be called.
Rights rightsOf(const config::PluginEntry& entry, const PluginFile& file);
std::vector<std::string> reachableFrom(const config::PluginEntry& entry, const PluginFile& file);

// Puts before `reason`, which a plugin gave for refusing its settings, the file and line of the
// setting that it names, or of the entry.
std::string located(const config::PluginEntry& entry, const std::string& reason);

}  // namespace orch::plugin
