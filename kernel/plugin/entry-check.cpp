#include "kernel/plugin/entry-check.h"

#include <capnp/message.h>
#include <kj/string.h>
#include <sys/stat.h>

#include <cctype>
#include <filesystem>
#include <string_view>

#include "kernel/config/settings.h"
#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/suggest.h"

namespace orch::plugin {

namespace {

config::Isolation isolationOf(const config::PluginEntry& entry, const PluginPlaces& places,
                              const std::string& path) {
  if (entry.isolation) return *entry.isolation;
  bool own = path.substr(0, path.rfind('/')) == places.ownFolder;
  return own ? config::Isolation::KERNEL : config::Isolation::PROCESS;
}

// What is granted must be of use: else a mistake would go unseen.
void checkRights(const config::PluginEntry& entry, const CheckedEntry& found) {
  bool apart = found.isolation == config::Isolation::PROCESS;
  if (!apart && (!entry.env.empty() || entry.capabilities)) {
    fail(kj::str((entry.env.empty() ? "capabilities" : "env"),
                 " is for a plugin in a process of its own; '", entry.id.c_str(),
                 "' runs in the kernel: set isolation = \"process\""));
  }
  auto extra = entry.capabilities.value_or(0) & ~found.file.descriptor.capabilities;
  for (auto& name : config::capabilityNames(extra)) {
    fail(kj::str("plugin '", entry.id.c_str(), "' does not ask for the capability ", name.c_str(),
                 "; 'orchd --inspect ", found.file.path.c_str(), "' says what it asks for"));
  }
}

// `word` stands in `text`, and not within a longer one.
bool names(const std::string& text, const std::string& word) {
  auto letter = [&text](size_t at) {
    return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
  };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    if ((at == 0 || !letter(at - 1)) && !letter(at + word.size())) return true;
  }
  return false;
}

std::optional<CheckedEntry> checkFile(const config::PluginEntry& entry,
                                      const PluginPlaces& places) {
  std::string path;
  for (auto& candidate : candidatesOf(entry, places)) {
    struct stat info;
    if (stat(candidate.c_str(), &info) < 0) continue;
    path = candidate;
    break;
  }
  if (path.empty()) return std::nullopt;
  CheckedEntry found{readPluginFile(path), isolationOf(entry, places, path)};
  auto& d = found.file.descriptor;
  if (entry.kind != d.kind || entry.name != d.name) {
    fail(kj::str("plugin file '", path.c_str(), "' is '", d.kind, ".", d.name, "', not '",
                 entry.kind.c_str(), ".", entry.name.c_str(), "'"));
  }
  if (found.isolation == config::Isolation::KERNEL && std::string(d.abiId) != ORCH_ABI_ID) {
    fail(kj::str("plugin file '", path.c_str(), "' was built for another ABI (", d.abiId,
                 ", this orchd is ", ORCH_ABI_ID, "); rebuild it, or set isolation = \"process\""));
  }
  checkRights(entry, found);
  config::SettingsSchema schema(found.file.schema, d.settingsType);
  capnp::MallocMessageBuilder values;
  schema.read(std::get<config::Table>(entry.config.data), entry.id, values);
  return found;
}

}  // namespace

std::vector<std::string> candidatesOf(const config::PluginEntry& entry,
                                      const PluginPlaces& places) {
  if (!entry.file.empty()) return {entry.file};
  std::vector<std::string> paths;
  for (auto& folder : places.folders) {
    paths.push_back(folder + "/" + entry.kind + "." + entry.name + ".so");
  }
  return paths;
}

std::string whyMissing(const config::PluginEntry& entry, const PluginPlaces& places) {
  auto text = "there is no file '" + candidatesOf(entry, places).front() + "'";
  if (!entry.file.empty()) return text;
  constexpr std::string_view ENDING = ".so";
  std::vector<std::string> ids;
  for (auto& folder : places.folders) {
    std::error_code ignored;  // it may come later
    for (auto& file : std::filesystem::directory_iterator(folder, ignored)) {
      std::string name = file.path().filename();
      if (name.ends_with(ENDING)) ids.push_back(name.substr(0, name.size() - ENDING.size()));
    }
  }
  kj::Vector<kj::StringPtr> known;
  for (auto& id : ids) known.add(id.c_str());
  return text + suggestion((entry.kind + "." + entry.name).c_str(), known).cStr();
}

std::optional<CheckedEntry> checkEntry(const config::PluginEntry& entry,
                                       const PluginPlaces& places) {
  auto outcome = attemptNow([&]() { return checkFile(entry, places); });
  if (outcome.ok()) return std::move(outcome.value());
  std::string text = outcome.message().cStr();
  bool placed = text.compare(0, entry.config.file.size() + 1, entry.config.file + ":") == 0;
  kj::throwFatalException(kj::Exception(outcome.error().getType(), __FILE__, __LINE__,
                                        kj::str((placed ? text : located(entry, text)).c_str())));
}

Rights rightsOf(const config::PluginEntry& entry, const PluginFile& file) {
  auto asked = file.descriptor.capabilities;
  return {entry.env, entry.capabilities.value_or(asked) & asked, file.descriptor.keeps};
}

std::vector<std::string> reachableFrom(const config::PluginEntry& entry, const PluginFile& file) {
  auto names = file.requirements();
  for (auto& name : file.calls()) names.push_back(name);
  names.insert(names.end(), entry.services.begin(), entry.services.end());
  return names;
}

std::string located(const config::PluginEntry& entry, const std::string& reason) {
  const auto* at = &entry.config;
  for (auto& [key, value] : std::get<config::Table>(entry.config.data).entries) {
    if (names(reason, key)) {
      at = &value;
      break;
    }
  }
  return at->file + ":" + std::to_string(at->line) + ": " + reason;
}

}  // namespace orch::plugin
