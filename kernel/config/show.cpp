#include "kernel/config/show.h"

#include <algorithm>

#include "orch/amounts.h"

namespace orch::config {

namespace {

// Lines of a table: those that were given, or all.
class Lines final {
 public:
  Lines(const std::vector<std::string>& given, bool all) : given(given), all(all) {}

  void add(const std::string& key, const std::string& value) {
    if (!all && std::find(given.begin(), given.end(), key) == given.end()) return;
    always(key, value);
  }
  void always(const std::string& key, const std::string& value) {
    text += tomlKey(key) + " = " + value + "\n";
  }
  std::string text;

 private:
  const std::vector<std::string>& given;
  bool all;
};

std::string listToml(const std::vector<std::string>& texts) {
  std::string out;
  for (auto& text : texts) out += (out.empty() ? "" : ", ") + tomlText(text);
  return "[" + out + "]";
}

std::string textsToml(const std::vector<std::pair<std::string, std::string>>& texts) {
  std::string out;
  for (auto& [key, value] : texts) {
    out += (out.empty() ? " " : ", ") + tomlKey(key) + " = " + tomlText(value);
  }
  return "{" + out + " }";
}

std::string resourcesToml(const std::vector<ResourceEntry>& resources) {
  std::string out;
  for (auto& [kind, amount, names] : resources) {
    out += (out.empty() ? " " : ", ") + tomlKey(kind) + " = " +
           (names.empty() ? std::to_string(amount) : listToml(names));
  }
  return "{" + out + " }";
}

std::string restartToml(const RestartSettings& restart) {
  return kj::str("{ backoff = \"", durationText(restart.backoffMinMs), "..",
                 durationText(restart.backoffMaxMs), "\", limit = ", restart.limit, ", window = \"",
                 durationText(restart.windowMs), "\" }")
      .cStr();
}

}  // namespace

std::string nodeToml(const NodeEntry& node, const std::string& name, bool defaults) {
  Lines lines(node.given, defaults);
  lines.add("name", tomlText(name));
  lines.add("data", tomlText(node.data));
  lines.add("run", tomlText(node.run));
  lines.add("listen", tomlText(node.listen));
  lines.add("logLevel", tomlText(node.logLevel));
  lines.add("eventLog", tomlText(sizeText(node.eventLogBytes).cStr()));
  lines.add("loopLimit", tomlText(durationText(node.loopLimitMs).cStr()));
  lines.add("plugins", listToml(node.pluginFolders));
  std::vector<std::string> uris;
  for (auto& uri : node.discovery) uris.push_back(std::get<std::string>(uri.data));
  if (defaults || !uris.empty()) lines.always("discovery", listToml(uris));
  if (defaults || !node.labels.empty()) lines.always("labels", textsToml(node.labels));
  if (defaults || !node.resources.empty()) {
    lines.always("resources", resourcesToml(node.resources));
  }
  return "[node]\n" + lines.text;
}

std::string pluginToml(const PluginEntry& entry, Isolation isolation, const std::string& settings,
                       bool defaults) {
  Lines lines(entry.given, defaults);
  lines.always("id", tomlText(entry.id));
  if (!entry.file.empty()) lines.add("file", tomlText(entry.file));
  lines.add("isolation", isolation == Isolation::PROCESS ? "\"process\"" : "\"kernel\"");
  lines.add("critical", entry.critical ? "true" : "false");
  lines.add("deadline", tomlText(durationText(entry.deadlineMs).cStr()));
  lines.add("startDeadline", tomlText(durationText(entry.startDeadlineMs).cStr()));
  lines.add("restart", restartToml(entry.restart));
  lines.add("services", listToml(entry.services));
  lines.add("env", textsToml(entry.env));
  if (entry.capabilities) {
    lines.add("capabilities", listToml(capabilityNames(*entry.capabilities)));
  }
  std::string text = "[[plugin]]\n" + lines.text;
  if (defaults && !settings.empty()) return text + "[plugin.config]\n" + settings;
  auto& table = std::get<Table>(entry.config.data);
  if (table.entries.empty()) return text;
  text += "[plugin.config]\n";
  for (auto& [key, value] : table.entries) text += tomlKey(key) + " = " + tomlValue(value) + "\n";
  return text;
}

}  // namespace orch::config
