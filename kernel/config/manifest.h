// The manifest of a node: /etc/orch/orchd.toml, then plugins.d/*.toml beside it in order of name.
// Read and checked as a whole before anything acts on it; nothing here touches more than those
// files.
#pragma once

#include <kj/filesystem.h>

#include <optional>
#include <string>
#include <vector>

#include "kernel/config/tree.h"

namespace orch::config {

enum class Isolation { KERNEL, PROCESS };

struct RestartSettings {
  uint64_t backoffMinMs = 100;
  uint64_t backoffMaxMs = 30'000;
  uint32_t limit = 5;  // restarts within the window; one more and the plugin has failed
  uint64_t windowMs = 300'000;
  bool operator==(const RestartSettings&) const = default;
};

struct PluginEntry {
  std::string id;    // `discovery.file#lab`
  std::string kind;  // `discovery`
  std::string name;  // `file`
  std::string file;  // its shared library; empty: <kind>.<name>.so in the plugin folders
  std::optional<Isolation> isolation;  // nothing: by the folder that the file is in
  bool critical = false;               // orchd ends if it fails
  uint64_t deadlineMs = 30'000;        // of a call into it
  uint64_t startDeadlineMs = 120'000;  // of its start: adopting containers, preparing the host
  RestartSettings restart;
  std::vector<std::string> services;                     // that it may call, beside its own asks
  std::vector<std::pair<std::string, std::string>> env;  // of its process
  std::optional<uint64_t> capabilities;  // 1 << CAP_…; nothing: those that its file asks for
  Value config;                          // a Table; empty if the manifest has none
  std::vector<std::string> given;        // the keys that the manifest sets
  bool fromNode = false;                 // made of `[node] discovery`
};

// What the node has for tasks beside cores and memory.
struct ResourceEntry {
  std::string kind;
  uint64_t amount = 0;
  std::vector<std::string> names;  // of a set: as many as `amount` says
  bool operator==(const ResourceEntry&) const = default;
};

struct NodeEntry {
  std::string name;  // empty: the host's name
  std::string data = "/var/lib/orch";
  std::string run = "/run/orch";
  std::string listen;                      // for the other hosts of a cluster; empty: none
  std::vector<std::string> pluginFolders;  // searched before the installation's own
  std::vector<Value> discovery;            // texts: URIs, each of which is a plugin
  std::string logLevel = "info";
  uint64_t eventLogBytes = 64 << 20;  // all segments together
  uint64_t loopLimitMs = 20000;       // orchd ends if its loop stands still for so long
  std::vector<std::pair<std::string, std::string>> labels;             // each key once
  std::vector<std::pair<std::string, std::string>> commandLineLabels;  // are among `labels`
  std::vector<ResourceEntry> resources;                                // by kind, each once
  std::vector<std::string> given;                                      // the keys that are set
};

struct Manifest {
  NodeEntry node;
  std::vector<PluginEntry> plugins;
  std::vector<std::string> files;  // what it was read from, in order
};

// Fails with "file:line: …" and what is accepted.
Manifest parseManifest(const std::string& text, const std::string& file);
// Reads `file` and its plugins.d. `file` is absolute.
Manifest readManifest(const kj::Directory& root, const std::string& file);

// A label of the command line wins over one of the manifest, the later over the earlier. Fails with
// what is accepted.
void addCommandLineLabel(NodeEntry& node, const std::string& key, const std::string& value);
// The keys of [node] whose values differ.
std::vector<std::string> changedKeys(const NodeEntry& before, const NodeEntry& after);

// The names of those in `mask` (1 << CAP_…), without CAP_.
std::vector<std::string> capabilityNames(uint64_t mask);

// "runtime.crun#a" → kind, name; false if it is not of that form.
bool splitPluginId(const std::string& id, std::string& kind, std::string& name);

}  // namespace orch::config
