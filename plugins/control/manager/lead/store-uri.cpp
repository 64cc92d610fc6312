#include "lead/store-uri.h"

#include <algorithm>

#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr size_t MAX_STORE_SERVERS = 16;
constexpr size_t MAX_STORE_URI_BYTES = 1024;
constexpr std::string_view SCHEME_END = "://";
constexpr std::string_view OWN_PREFIX = "orch";  // of each of these plugins

struct StoreScheme {
  const char* scheme;
  const char* plugin;
  const char* port;
  bool secure;
  const char* before;     // a server, in the plugin's `endpoints`
  const char* around[2];  // the prefix, in its `prefix`
};
constexpr StoreScheme STORE_SCHEMES[] = {
    {"etcd", "store.etcd", ":2379", false, "http://", {"/", "/"}},
    {"etcd+https", "store.etcd", ":2379", true, "https://", {"/", "/"}},
    {"consul", "store.consul", ":8500", false, "http://", {"", "/"}},
    {"consul+https", "store.consul", ":8500", true, "https://", {"", "/"}},
    {"zk", "store.zookeeper", ":2181", false, "", {"/", ""}},
};

[[noreturn]] void refuseStoreUri(std::string_view text, const char* why) {
  fail(kj::str("usage: --to has '", kj::heapString(text.data(), std::min<size_t>(text.size(), 200)),
               "', which ", why,
               "; accepted: etcd://host:port,host:port/prefix, consul://…, etcd+https://…, "
               "consul+https://…, zk://…, or a plugin's name, as store.etcd"));
}

std::string inLowerCase(std::string_view text) {
  std::string lower(text);
  for (auto& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

bool isPlain(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != more.npos;
  });
}

bool isPort(std::string_view text) {
  return !text.empty() && text.size() <= 5 && text.front() != '0' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         std::stoi(std::string(text)) <= 65535;
}

std::string serverIn(std::string_view uri, std::string_view text, const char* port) {
  bool six = text.starts_with('[');
  auto colon = six ? text.find("]:") : text.find(':');
  bool bare = colon == text.npos;
  auto host = bare ? text : text.substr(0, colon + (six ? 1 : 0));
  bool good =
      six ? host.size() > 2 && host.ends_with(']') && isPlain(host.substr(1, host.size() - 2), ":.")
          : isPlain(host, ".-_");
  auto after = bare ? std::string_view(port).substr(1) : text.substr(host.size() + 1);
  if (!good || !isPort(after)) refuseStoreUri(uri, "has a server that is none");
  return inLowerCase(host) + ":" + std::string(after);
}

const StoreScheme* schemeIn(std::string_view text) {
  auto scheme = inLowerCase(text.substr(0, text.find(SCHEME_END)));
  auto* found = std::find_if(std::begin(STORE_SCHEMES), std::end(STORE_SCHEMES),
                             [&](auto& one) { return scheme == one.scheme; });
  return found == std::end(STORE_SCHEMES) ? nullptr : found;
}

}  // namespace

bool StoreUri::isOne(std::string_view text) { return text.find(SCHEME_END) != text.npos; }

StoreUri StoreUri::parse(std::string_view text) {
  auto* scheme = schemeIn(text);
  if (scheme == nullptr) refuseStoreUri(text, "no store here is reached by");
  if (text.size() > MAX_STORE_URI_BYTES) refuseStoreUri(text, "is too long");
  auto rest = text.substr(text.find(SCHEME_END) + SCHEME_END.size());
  auto slash = std::min(rest.find('/'), rest.size());
  auto prefix = rest.substr(slash);
  while (prefix.starts_with('/')) prefix.remove_prefix(1);
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (prefix.empty()) prefix = OWN_PREFIX;
  if (!isPlain(prefix, "/._-") || prefix.find("//") != prefix.npos) {
    refuseStoreUri(text, "has a prefix that is none");
  }
  StoreUri uri;
  uri.plugin = scheme->plugin;
  uri.secure = scheme->secure;
  uri.prefix = prefix;
  auto servers = rest.substr(0, slash);
  for (size_t at = 0; at <= servers.size();) {
    auto end = std::min(servers.find(',', at), servers.size());
    uri.servers.push_back(serverIn(text, servers.substr(at, end - at), scheme->port));
    at = end + 1;
  }
  if (uri.servers.size() > MAX_STORE_SERVERS) refuseStoreUri(text, "has more than 16 servers");
  return uri;
}

bool StoreUri::isPartOf(const StoreUri& store) const {
  bool all = std::all_of(servers.begin(), servers.end(), [&](auto& server) {
    return std::count(store.servers.begin(), store.servers.end(), server) > 0;
  });
  return all && plugin == store.plugin && prefix == store.prefix && (store.secure || !secure);
}

kj::String StoreUri::manifestLine(std::string_view id) const {
  auto* scheme = std::find_if(std::begin(STORE_SCHEMES), std::end(STORE_SCHEMES), [&](auto& one) {
    return plugin == one.plugin && secure == one.secure;
  });
  std::string endpoints, below;
  for (auto& server : servers) {
    endpoints += (endpoints.empty() ? "\"" : ", \"") + (scheme->before + server) + "\"";
  }
  if (prefix != OWN_PREFIX) {
    below = ", prefix = \"" + (scheme->around[0] + prefix) + scheme->around[1] + "\"";
  }
  return kj::str("plugin = [{ id = \"", kj::heapString(id.data(), id.size()),
                 "\", config = { endpoints = [", endpoints.c_str(), "]", below.c_str(), " } }]");
}

}  // namespace orch::control::manager
