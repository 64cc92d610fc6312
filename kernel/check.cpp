#include "kernel/check.h"

#include <capnp/message.h>

#include <cstdio>
#include <filesystem>

#include "kernel/config/settings.h"
#include "kernel/plugin/elf-reader.h"
#include "orch/abi.h"

namespace orch::check {

namespace {

std::string findFile(const config::PluginEntry& entry, const plugin::PluginPlaces& places) {
  if (!entry.file.empty()) return std::filesystem::exists(entry.file) ? entry.file : "";
  for (auto& folder : places.folders) {
    auto path = folder + "/" + entry.kind + "." + entry.name + ".so";
    if (std::filesystem::exists(path)) return path;
  }
  return "";
}

}  // namespace

int checkManifest(const config::Manifest& manifest, const plugin::PluginPlaces& places,
                  const std::string& file) {
  for (auto& entry : manifest.plugins) {
    auto path = findFile(entry, places);
    if (path.empty()) {
      printf("%s: no file yet; it would wait for %s.%s.so\n", entry.id.c_str(), entry.kind.c_str(),
             entry.name.c_str());
      continue;
    }
    auto found = plugin::readPluginFile(path);
    config::SettingsSchema schema(found.schema, found.descriptor.settingsType);
    capnp::MallocMessageBuilder values;
    schema.read(std::get<config::Table>(entry.config.data), entry.id, values);
  }
  printf("%s: valid, %zu plugins\n", file.c_str(), manifest.plugins.size());
  return 0;
}

int inspectPlugin(const std::string& path) {
  auto found = plugin::readPluginFile(path);
  auto& d = found.descriptor;
  printf("plugin    %s.%s %s\nfile      %s\nsdk       %s\nabi       %s%s\n", d.kind, d.name,
         d.pluginVersion, path.c_str(), d.sdkVersion, d.abiId,
         std::string(d.abiId) == ORCH_ABI_ID ? "" : " (not this orchd's: runs isolated)");
  std::string required;
  for (auto& requirement : found.requirements())
    required += (required.empty() ? "" : ", ") + requirement;
  printf("requires  %s\n\nsettings:\n", required.empty() ? "nothing" : required.c_str());
  config::SettingsSchema schema(found.schema, d.settingsType);
  capnp::MallocMessageBuilder values;
  schema.defaults(values);
  printf("%s", schema.toToml(values, true).c_str());
  return 0;
}

}  // namespace orch::check
