#include "kernel/config/manifest.h"

#include <kj/debug.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "kernel/config/discovery.h"
#include "orch/amounts.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/generic-resources.h"
#include "orch/kernel-names.h"

namespace orch::config {

namespace {

// Reads the keys of one table: each key once, by its reader; any other key is refused.
class KeyReader {
 public:
  using Read = std::function<void(const Value&)>;
  KeyReader& key(const std::string& name, Read read) {
    readers.emplace_back(name, std::move(read));
    return *this;
  }
  // Notes the keys that are there in `given`.
  void run(const Table& table, const std::string& where, std::vector<std::string>* given) const {
    for (auto& [name, value] : table.entries) {
      if (given != nullptr) given->push_back(name);
      auto reader = std::find_if(readers.begin(), readers.end(),
                                 [&name = name](auto& entry) { return entry.first == name; });
      if (reader == readers.end()) {
        failAt(value, "unknown key '" + name + "' in " + where + "; accepted: " + accepted());
      }
      reader->second(value);
    }
  }

 private:
  std::string accepted() const {
    std::string all;
    for (auto& [name, read] : readers) all += (all.empty() ? "" : ", ") + name;
    return all;
  }
  std::vector<std::pair<std::string, Read>> readers;
};

template <typename T>
const T& expect(const Value& value, const std::string& key, const char* wanted) {
  auto* found = std::get_if<T>(&value.data);
  if (found == nullptr) {
    failAt(value, "'" + key + "' must be " + wanted + ", not " + value.typeName());
  }
  return *found;
}

// What a text may be that ends up in file names, in log lines and on terminals.
bool isOneLine(const std::string& text) {
  constexpr size_t LONGEST = 4096;  // PATH_MAX
  return text.size() < LONGEST && std::all_of(text.begin(), text.end(), [](char c) {
           auto byte = static_cast<unsigned char>(c);
           return byte >= ' ' && byte != 0x7f;
         });
}

std::string readLine(const Value& value, const std::string& key) {
  auto& written = expect<std::string>(value, key, "a text");
  if (!isOneLine(written)) {
    failAt(value, "'" + key + "' is " + tomlText(written) +
                      "; accepted: one line of at most 4095 bytes without control characters");
  }
  return written;
}

KeyReader::Read text(const std::string& key, std::string& into) {
  return [&into, key](const Value& value) { into = readLine(value, key); };
}

KeyReader::Read absolutePath(const std::string& key, std::string& into) {
  return [&into, key](const Value& value) {
    into = readLine(value, key);
    if (into.empty() || into[0] != '/')
      failAt(value, "'" + key + "' is '" + into + "'; accepted: an absolute path");
  };
}

struct Range {
  uint64_t least, most;
};
constexpr uint64_t HOUR_MS = 3'600'000;
// A call, a start or a back-off that takes longer than these is a mistake in the manifest.
constexpr Range DEADLINE{1, 24 * HOUR_MS};
constexpr Range BACKOFF{1, 1 * HOUR_MS};
constexpr Range WINDOW{1, 7 * 24 * HOUR_MS};
constexpr Range LOOP_LIMIT{2000, 1 * HOUR_MS};
constexpr Range EVENT_LOG{1 << 20, 64ull << 30};

KeyReader::Read duration(const std::string& key, uint64_t& into, Range range) {
  return [&into, key, range](const Value& value) {
    auto& written = expect<std::string>(value, key, "a duration such as \"30s\"");
    auto parsed = parseDurationMs(written);
    if (!parsed || *parsed < range.least || *parsed > range.most) {
      failAt(value, "'" + key + "' is '" + written + "'; accepted: a duration such as \"30s\", \"" +
                        durationText(range.least).cStr() + "\" to \"" +
                        durationText(range.most).cStr() + "\"");
    }
    into = *parsed;
  };
}

void readBackoff(const Value& value, RestartSettings& restart) {
  auto& written = expect<std::string>(value, "backoff", "a range such as \"100ms..30s\"");
  auto dots = written.find("..");
  std::optional<uint64_t> least, most;
  if (dots != std::string::npos) {
    least = parseDurationMs(written.substr(0, dots));
    most = parseDurationMs(written.substr(dots + 2));
  }
  bool good = least && most && *least >= BACKOFF.least && *most <= BACKOFF.most && *least <= *most;
  if (!good) {
    failAt(value, "'backoff' is '" + written +
                      "'; accepted: a range such as \"100ms..30s\", within \"1ms..1h\"");
  }
  restart.backoffMinMs = *least;
  restart.backoffMaxMs = *most;
}

RestartSettings readRestart(const Value& value) {
  RestartSettings restart;
  KeyReader()
      .key("backoff", [&](const Value& v) { readBackoff(v, restart); })
      .key("limit",
           [&](const Value& v) {
             auto number = expect<int64_t>(v, "limit", "a whole number");
             if (number < 0 || number > 1000) failAt(v, "'limit' must be from 0 to 1000");
             restart.limit = number;
           })
      .key("window", duration("window", restart.windowMs, WINDOW))
      .run(expect<Table>(value, "restart", "a table"), "restart", nullptr);
  return restart;
}

bool isLabelKey(const std::string& key) {
  constexpr size_t LONGEST = 255;
  return !key.empty() && key.size() <= LONGEST && isOneLine(key) &&
         key.find_first_of(" =") == std::string::npos;
}
constexpr const char* LABEL_KEYS =
    "a key of 1 to 255 bytes without blanks, '=' and control characters";

std::vector<std::string> readServices(const Value& value) {
  std::vector<std::string> services;
  for (auto& item : expect<Array>(value, "services", "a list such as [\"store\", \"image.oci\"]")) {
    services.push_back(readLine(item, "services"));
  }
  return services;
}

std::vector<std::pair<std::string, std::string>> readEnv(const Value& value) {
  std::vector<std::pair<std::string, std::string>> env;
  for (auto& [key, item] : expect<Table>(value, "env", "a table").entries) {
    if (!isLabelKey(key)) {
      failAt(item, "'env' has the name " + tomlText(key) + "; accepted: " + LABEL_KEYS);
    }
    env.emplace_back(key, readLine(item, key));
  }
  return env;
}

uint64_t readCapabilities(const Value& value) {
  uint64_t mask = 0;
  for (auto& item : expect<Array>(value, "capabilities", "a list such as [\"NET_ADMIN\"]")) {
    auto& name = expect<std::string>(item, "capabilities", "a list of names");
    auto known = std::find(std::begin(CAPABILITY_NAMES), std::end(CAPABILITY_NAMES), name);
    if (known == std::end(CAPABILITY_NAMES)) {
      failAt(item, "'capabilities' has " + tomlText(name) +
                       "; accepted: the names of capabilities(7) without CAP_, such as "
                       "\"NET_ADMIN\"");
    }
    mask |= uint64_t{1} << (known - std::begin(CAPABILITY_NAMES));
  }
  return mask;
}

PluginEntry readPlugin(const Value& value) {
  PluginEntry entry;
  entry.config.data = Table();
  entry.config.file = value.file;
  entry.config.line = value.line;
  KeyReader()
      .key("id",
           [&](const Value& v) {
             entry.id = expect<std::string>(v, "id", "a text");
             if (!splitPluginId(entry.id, entry.kind, entry.name)) {
               failAt(v,
                      "'id' is '" + entry.id +
                          "'; accepted: kind.name or kind.name#instance, such as \"runtime.crun\"");
             }
           })
      .key("file", absolutePath("file", entry.file))
      .key("isolation",
           [&](const Value& v) {
             auto& written = expect<std::string>(v, "isolation", "a text");
             if (written != "kernel" && written != "process") {
               failAt(v, "'isolation' is '" + written + "'; accepted: kernel, process");
             }
             entry.isolation = written == "kernel" ? Isolation::KERNEL : Isolation::PROCESS;
           })
      .key("critical",
           [&](const Value& v) { entry.critical = expect<bool>(v, "critical", "true or false"); })
      .key("deadline", duration("deadline", entry.deadlineMs, DEADLINE))
      .key("startDeadline", duration("startDeadline", entry.startDeadlineMs, DEADLINE))
      .key("restart", [&](const Value& v) { entry.restart = readRestart(v); })
      .key("services", [&](const Value& v) { entry.services = readServices(v); })
      .key("env", [&](const Value& v) { entry.env = readEnv(v); })
      .key("capabilities", [&](const Value& v) { entry.capabilities = readCapabilities(v); })
      .key("config",
           [&](const Value& v) {
             expect<Table>(v, "config", "a table");
             entry.config = v;
           })
      .run(expect<Table>(value, "plugin", "a table"), "[[plugin]]", &entry.given);
  if (entry.id.empty()) failAt(value, "a [[plugin]] needs an 'id' such as \"runtime.crun\"");
  return entry;
}

void setLabel(NodeEntry& node, const std::string& key, const std::string& value) {
  for (auto& [known, old] : node.labels) {
    if (known != key) continue;
    old = value;
    return;
  }
  node.labels.emplace_back(key, value);
}

void readName(const Value& value, NodeEntry& node) {
  constexpr size_t LONGEST = 253;  // of a host's name
  node.name = expect<std::string>(value, "name", "a text");
  bool good = !node.name.empty() && node.name.size() <= LONGEST && isOneLine(node.name) &&
              node.name.find(' ') == std::string::npos;
  if (!good) {
    failAt(value, "'name' is " + tomlText(node.name) +
                      "; accepted: 1 to 253 bytes without blanks and control characters");
  }
}

void readLabels(const Value& value, NodeEntry& node) {
  for (auto& [key, item] : expect<Table>(value, "labels", "a table").entries) {
    if (!isLabelKey(key)) {
      failAt(item, "'labels' has the key " + tomlText(key) + "; accepted: " + LABEL_KEYS);
    }
    setLabel(node, key, readLine(item, key));
  }
}

void readNames(const Value& value, ResourceEntry& resource) {
  auto& list = std::get<Array>(value.data);
  for (auto& item : list) {
    auto name = readLine(item, resource.kind);
    if (!isResourceName(name)) {
      failAt(item, "'resources' has " + tomlText(name) + " among the names of " +
                       tomlText(resource.kind) + "; accepted: " + RESOURCE_NAMES.cStr());
    }
    if (std::find(resource.names.begin(), resource.names.end(), name) != resource.names.end()) {
      failAt(item, "'resources' names " + tomlText(name) + " of " + tomlText(resource.kind) +
                       " twice; a name stands for one of them");
    }
    resource.names.push_back(name);
  }
  resource.amount = list.size();
  if (list.empty() || list.size() > MAX_RESOURCE_NAMES) {
    failAt(value, "'resources' has " + std::to_string(list.size()) + " names of " +
                      tomlText(resource.kind) + "; accepted: 1 to " +
                      std::to_string(MAX_RESOURCE_NAMES));
  }
}

void readResources(const Value& value, NodeEntry& node) {
  node.resources.clear();
  auto& entries = expect<Table>(value, "resources", "a table such as { gpu = 4 }").entries;
  if (entries.size() > MAX_RESOURCE_KINDS) {
    failAt(value, "'resources' has " + std::to_string(entries.size()) +
                      " kinds; accepted: " + std::to_string(MAX_RESOURCE_KINDS) + " at most");
  }
  for (auto& [kind, item] : entries) {
    if (!isResourceKind(kind)) {
      failAt(item, "'resources' has " + tomlText(kind) + "; accepted: " + RESOURCE_KINDS.cStr());
    }
    auto& resource = node.resources.emplace_back();
    resource.kind = kind;
    if (std::holds_alternative<Array>(item.data)) {
      readNames(item, resource);
      continue;
    }
    auto number = expect<int64_t>(item, kind, "a number such as 4 or names such as [\"GPU-1\"]");
    if (number < 1 || static_cast<uint64_t>(number) > MAX_RESOURCE_AMOUNT) {
      failAt(item, "'" + kind + "' is " + std::to_string(number) + "; accepted: 1 to " +
                       std::to_string(MAX_RESOURCE_AMOUNT) + ", or names such as [\"GPU-1\"]");
    }
    resource.amount = static_cast<uint64_t>(number);
  }
  std::sort(node.resources.begin(), node.resources.end(),
            [](auto& a, auto& b) { return a.kind < b.kind; });
}

void readNode(const Value& value, NodeEntry& node) {
  KeyReader()
      .key("name", [&](const Value& v) { readName(v, node); })
      .key("data", absolutePath("data", node.data))
      .key("run", absolutePath("run", node.run))
      .key("listen", text("listen", node.listen))
      .key("logLevel",
           [&](const Value& v) {
             node.logLevel = expect<std::string>(v, "logLevel", "a text");
             static const std::set<std::string> LEVELS{"trace", "debug", "info", "warn", "error"};
             if (LEVELS.count(node.logLevel) == 0) {
               failAt(v, "'logLevel' is '" + node.logLevel +
                             "'; accepted: trace, debug, info, warn, error");
             }
           })
      .key("eventLog",
           [&](const Value& v) {
             auto& written = expect<std::string>(v, "eventLog", "a size such as \"64m\"");
             auto bytes = parseSizeBytes(written);
             if (!bytes || *bytes < EVENT_LOG.least || *bytes > EVENT_LOG.most) {
               failAt(v, "'eventLog' is '" + written + "'; accepted: a size such as \"64m\", \"" +
                             sizeText(EVENT_LOG.least).cStr() + "\" to \"" +
                             sizeText(EVENT_LOG.most).cStr() + "\"");
             }
             node.eventLogBytes = *bytes;
           })
      .key("loopLimit", duration("loopLimit", node.loopLimitMs, LOOP_LIMIT))
      .key("plugins",
           [&](const Value& v) {
             for (auto& item : expect<Array>(v, "plugins", "a list of folders")) {
               expect<std::string>(item, "plugins", "a list of texts");
               absolutePath("plugins", node.pluginFolders.emplace_back())(item);
             }
           })
      .key("labels", [&](const Value& v) { readLabels(v, node); })
      .key("resources", [&](const Value& v) { readResources(v, node); })
      .key("discovery",
           [&](const Value& v) {
             for (auto& item : expect<Array>(v, "discovery", "a list of URIs")) {
               readLine(item, "discovery");
               checkDiscoveryUri(item);
               node.discovery.push_back(item);
             }
           })
      .run(expect<Table>(value, "node", "a table"), "[node]", &node.given);
}

void merge(const Table& table, const std::string& file, Manifest& manifest) {
  KeyReader()
      .key("node", [&](const Value& v) { readNode(v, manifest.node); })
      .key("plugin",
           [&](const Value& v) {
             auto* list = std::get_if<Array>(&v.data);
             if (list == nullptr) failAt(v, "write [[plugin]], with two brackets, for each plugin");
             for (auto& item : *list) {
               auto entry = readPlugin(item);
               for (auto& other : manifest.plugins) {
                 if (other.id == entry.id) {
                   failAt(item, "plugin '" + entry.id + "' is named twice (first at " +
                                    other.config.file + ":" + std::to_string(other.config.line) +
                                    "); a second instance needs an id such as '" + entry.kind +
                                    "." + entry.name + "#2'");
                 }
               }
               manifest.plugins.push_back(std::move(entry));
             }
           })
      .run(table, "the manifest", nullptr);
  manifest.files.push_back(file);
}

std::string readText(const kj::Directory& root, const std::string& file) {
  constexpr uint64_t LARGEST = 1 << 20;
  auto path = kj::Path::parse(file.c_str() + 1);
  auto opened = attemptNow([&]() { return root.tryOpenFile(path); });
  if (opened.ok() && opened.value() == nullptr) {
    fail(kj::str("cannot read the manifest '", file.c_str(),
                 "': no such file; share/doc/orch/configs/single.toml is one to start from"));
  }
  auto read = attemptNow([&]() {
    auto& readable = *KJ_ASSERT_NONNULL(opened.value());
    auto info = readable.stat();
    KJ_REQUIRE(info.type == kj::FsNode::Type::FILE && info.size <= LARGEST);
    return readable.readAllText();
  });
  if (!read.ok()) {
    fail(kj::str("cannot read the manifest '", file.c_str(),
                 "'; it must be a file of at most 1 MiB that the user of orchd may read"));
  }
  auto& text = read.value();
  return std::string(text.begin(), text.size());
}

}  // namespace

void addCommandLineLabel(NodeEntry& node, const std::string& key, const std::string& value) {
  if (!isLabelKey(key) || !isOneLine(value)) {
    fail(kj::str("--label ", tomlText(key + "=" + value).c_str(), ": accepted is KEY=VALUE, with ",
                 LABEL_KEYS));
  }
  setLabel(node, key, value);
  node.commandLineLabels.emplace_back(key, value);
}

std::vector<std::string> changedKeys(const NodeEntry& a, const NodeEntry& b) {
  std::vector<std::string> keys;
  auto compare = [&keys](const char* key, bool same) {
    if (!same) keys.push_back(key);
  };
  compare("name", a.name == b.name);
  compare("data", a.data == b.data);
  compare("run", a.run == b.run);
  compare("listen", a.listen == b.listen);
  compare("logLevel", a.logLevel == b.logLevel);
  compare("eventLog", a.eventLogBytes == b.eventLogBytes);
  compare("loopLimit", a.loopLimitMs == b.loopLimitMs);
  compare("plugins", a.pluginFolders == b.pluginFolders);
  auto sorted = [](auto labels) {
    std::sort(labels.begin(), labels.end());
    return labels;
  };
  compare("labels", sorted(a.labels) == sorted(b.labels));
  compare("resources", a.resources == b.resources);
  return keys;
}

std::vector<std::string> capabilityNames(uint64_t mask) {
  std::vector<std::string> names;
  for (size_t i = 0; i < std::size(CAPABILITY_NAMES); ++i) {
    if ((mask >> i & 1) != 0) names.emplace_back(CAPABILITY_NAMES[i]);
  }
  return names;
}

bool splitPluginId(const std::string& id, std::string& kind, std::string& name) {
  auto hash = id.find('#');
  auto main = id.substr(0, hash);
  auto dot = main.find('.');
  if (dot == std::string::npos) return false;
  auto word = [](const std::string& text) {
    return !text.empty() && text.size() < 32 && std::all_of(text.begin(), text.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    });
  };
  kind = main.substr(0, dot);
  name = main.substr(dot + 1);
  return word(kind) && word(name) && (hash == std::string::npos || word(id.substr(hash + 1)));
}

Manifest parseManifest(const std::string& text, const std::string& file) {
  Manifest manifest;
  merge(parseToml(text, file), file, manifest);
  addDiscoveryPlugins(manifest);
  return manifest;
}

Manifest readManifest(const kj::Directory& root, const std::string& file) {
  Manifest manifest;
  merge(parseToml(readText(root, file), file), file, manifest);
  auto folder = file.substr(0, file.rfind('/')) + "/plugins.d";
  KJ_IF_MAYBE (directory, root.tryOpenSubdir(kj::Path::parse(folder.c_str() + 1))) {
    for (auto& name : (*directory)->listNames()) {  // sorted
      if (!name.endsWith(".toml")) continue;
      auto more = folder + "/" + name.cStr();
      merge(parseToml(readText(root, more), more), more, manifest);
    }
  }
  addDiscoveryPlugins(manifest);
  return manifest;
}

}  // namespace orch::config
