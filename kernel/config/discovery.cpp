#include "kernel/config/discovery.h"

#include <algorithm>

namespace orch::config {

namespace {

struct Scheme {
  const char* scheme;
  const char* plugin;
};
// Classic Swarm's `nodes`, and no scheme at all, are lists of hosts.
constexpr Scheme SCHEMES[] = {
    {"file", "file"},   {"node", "node"},        {"nodes", "node"},    {"", "node"},
    {"token", "token"}, {"token+http", "token"}, {"consul", "consul"}, {"consul+https", "consul"},
    {"etcd", "etcd"},   {"etcd+https", "etcd"},  {"zk", "zookeeper"},
};

std::string schemeOf(const std::string& uri) {
  auto end = uri.find("://");
  std::string scheme = end == std::string::npos ? "" : uri.substr(0, end);
  for (auto& c : scheme) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return scheme;
}

const Scheme* find(const std::string& uri) {
  auto scheme = schemeOf(uri);
  auto* found = std::find_if(std::begin(SCHEMES), std::end(SCHEMES),
                             [&](auto& one) { return one.scheme == scheme; });
  bool none = uri.empty() || uri.starts_with("://") || found == std::end(SCHEMES);
  return none ? nullptr : found;
}

PluginEntry generated(const std::string& name, const std::string& kind, const Value& from) {
  PluginEntry entry;
  entry.id = name;
  entry.kind = kind;
  std::string ignored;
  splitPluginId(name, ignored, entry.name);
  entry.fromNode = true;
  entry.config.data = Table();
  entry.config.file = from.file;
  entry.config.line = from.line;
  return entry;
}

bool has(const Manifest& manifest, const std::string& id) {
  return std::any_of(manifest.plugins.begin(), manifest.plugins.end(),
                     [&](auto& entry) { return entry.id == id; });
}

}  // namespace

void checkDiscoveryUri(const Value& value) {
  auto& uri = std::get<std::string>(value.data);
  if (find(uri) != nullptr) return;
  failAt(value,
         "'discovery' has " + tomlText(uri) +
             ", which no backend here serves; accepted: file:///path, "
             "node://host:port,host:port, token://host:port/v1/TOKEN, token+http://…, "
             "consul://host:port/prefix, consul+https://…, etcd://host:port,host:port/prefix, "
             "etcd+https://…, zk://host:port,host:port/prefix; for "
             "another backend add a [[plugin]] such as \"discovery.consul\"");
}

void addDiscoveryPlugins(Manifest& manifest) {
  auto& uris = manifest.node.discovery;
  for (size_t i = 0; i < uris.size(); ++i) {
    auto id = std::string("discovery.") + find(std::get<std::string>(uris[i].data))->plugin + "#" +
              std::to_string(i + 1);
    if (has(manifest, id)) {
      failAt(uris[i], "'discovery' makes the plugin '" + id +
                          "', which a [[plugin]] is called as well; call that one otherwise");
    }
    auto entry = generated(id, "discovery", uris[i]);
    std::get<Table>(entry.config.data).entries.push_back({"uri", uris[i]});
    manifest.plugins.push_back(std::move(entry));
  }
  if (uris.empty() || has(manifest, "control.discovery")) return;
  manifest.plugins.push_back(generated("control.discovery", "control", uris[0]));
}

}  // namespace orch::config
