#include "kernel/config/manifest.h"

#include <kj/debug.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "orch/fail.h"

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
  void run(const Table& table, const std::string& where) const {
    for (auto& [name, value] : table.entries) {
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

KeyReader::Read text(const std::string& key, std::string& into) {
  return [&into, key](const Value& value) { into = expect<std::string>(value, key, "a text"); };
}

KeyReader::Read duration(const std::string& key, uint64_t& into) {
  return [&into, key](const Value& value) {
    auto& written = expect<std::string>(value, key, "a duration such as \"30s\"");
    if (!parseDurationMs(written, into) || into == 0) {
      failAt(value, "'" + key + "' is '" + written +
                        "'; accepted: a duration such as \"500ms\", \"30s\" or \"5m\"");
    }
  };
}

void readBackoff(const Value& value, RestartSettings& restart) {
  auto& written = expect<std::string>(value, "backoff", "a range such as \"100ms..30s\"");
  auto dots = written.find("..");
  bool good = dots != std::string::npos &&
              parseDurationMs(written.substr(0, dots), restart.backoffMinMs) &&
              parseDurationMs(written.substr(dots + 2), restart.backoffMaxMs) &&
              restart.backoffMinMs > 0 && restart.backoffMinMs <= restart.backoffMaxMs;
  if (!good)
    failAt(value, "'backoff' is '" + written + "'; accepted: a range such as \"100ms..30s\"");
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
      .key("window", duration("window", restart.windowMs))
      .run(expect<Table>(value, "restart", "a table"), "restart");
  return restart;
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
      .key("file", text("file", entry.file))
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
      .key("deadline", duration("deadline", entry.deadlineMs))
      .key("restart", [&](const Value& v) { entry.restart = readRestart(v); })
      .key("config",
           [&](const Value& v) {
             expect<Table>(v, "config", "a table");
             entry.config = v;
           })
      .run(expect<Table>(value, "plugin", "a table"), "[[plugin]]");
  if (entry.id.empty()) failAt(value, "a [[plugin]] needs an 'id' such as \"runtime.crun\"");
  return entry;
}

void readNode(const Value& value, NodeEntry& node) {
  auto absolute = [](const std::string& key, std::string& into) {
    return [&into, key](const Value& v) {
      into = expect<std::string>(v, key, "a text");
      if (into.empty() || into[0] != '/')
        failAt(v, "'" + key + "' is '" + into + "'; accepted: an absolute path");
    };
  };
  KeyReader()
      .key("name", text("name", node.name))
      .key("data", absolute("data", node.data))
      .key("run", absolute("run", node.run))
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
             constexpr uint64_t LEAST = 1 << 20;
             if (!parseSizeBytes(written, node.eventLogBytes) || node.eventLogBytes < LEAST) {
               failAt(v, "'eventLog' is '" + written + "'; accepted: a size of at least \"1m\"");
             }
           })
      .key("loopLimit",
           [&](const Value& v) {
             duration("loopLimit", node.loopLimitMs)(v);
             if (node.loopLimitMs < 2000) failAt(v, "'loopLimit' must be at least \"2s\"");
           })
      .key(
          "plugins",
          [&](const Value& v) {
            for (auto& item : expect<Array>(v, "plugins", "a list of folders")) {
              node.pluginFolders.push_back(expect<std::string>(item, "plugins", "a list of texts"));
            }
          })
      .key("labels",
           [&](const Value& v) {
             for (auto& [key, item] : expect<Table>(v, "labels", "a table").entries) {
               node.labels.emplace_back(key, expect<std::string>(item, key, "a text"));
             }
           })
      .run(expect<Table>(value, "node", "a table"), "[node]");
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
      .run(table, "the manifest");
  manifest.files.push_back(file);
}

std::string readText(const kj::Directory& root, const std::string& file) {
  auto path = kj::Path::parse(file.c_str() + 1);
  KJ_IF_MAYBE (opened, root.tryOpenFile(path)) {
    return (*opened)->readAllText().cStr();
  }
  fail(kj::str("cannot read the manifest '", file.c_str(),
               "': no such file; see configs/single.toml for one to start from"));
}

}  // namespace

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
  return manifest;
}

}  // namespace orch::config
