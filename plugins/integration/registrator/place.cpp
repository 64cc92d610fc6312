#include "place.h"

#include <algorithm>
#include <utility>

#include "http/endpoint.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::integration::registrator {

namespace {

constexpr size_t MAX_HOSTS = 16;
constexpr size_t MAX_PATH_BYTES = 128;

struct RegistryScheme {
  std::string_view name;
  Registry::Kind kind;
  bool secure;
  const char* port;
};
constexpr RegistryScheme SCHEMES[] = {
    {"consul", Registry::Kind::CONSUL, false, ":8500"},
    {"consul-tls", Registry::Kind::CONSUL, true, ":8500"},
    {"consulkv", Registry::Kind::CONSUL_KV, false, ":8500"},
    {"consulkv-tls", Registry::Kind::CONSUL_KV, true, ":8500"},
    {"etcd", Registry::Kind::ETCD, false, ":2379"},
    {"etcd-tls", Registry::Kind::ETCD, true, ":2379"},
    {"skydns2", Registry::Kind::SKYDNS, false, ":2379"},
    {"skydns2-tls", Registry::Kind::SKYDNS, true, ":2379"},
    {"zookeeper", Registry::Kind::ZOOKEEPER, false, ":2181"},
};

bool isRegistryPath(std::string_view path) {
  auto whole = std::string(path) + "/";
  auto has = [&](const char* words) { return whole.find(words) != std::string::npos; };
  return path.size() <= MAX_PATH_BYTES && !has("//") && !has("/./") && !has("/../") &&
         std::all_of(path.begin(), path.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-' || c == '/';
         });
}

// `/skydns/local/cluster` of `/cluster.local`
std::string domainPath(std::string_view path) {
  std::string reversed;
  for (auto rest = path.substr(1);;) {
    auto dot = std::min(rest.find('.'), rest.size());
    reversed = "/" + std::string(rest.substr(0, dot)) + reversed;
    if (dot == rest.size()) break;
    rest = rest.substr(dot + 1);
  }
  return "/skydns" + reversed;
}

}  // namespace

std::vector<std::string> Registry::urls(bool tls) const {
  std::vector<std::string> all;
  for (auto& host : hosts) all.push_back((tls || secure ? "https://" : "http://") + host);
  return all;
}

Registry parseRegistry(std::string_view text) {
  auto refuse = [&](kj::StringPtr why) {
    fail(kj::str("registry is '", std::string(text).c_str(), "': ", why,
                 "; accepted: consul://host:port, consulkv://host:port/path, "
                 "etcd://host:port,host:port/path, skydns2://host:port/domain or "
                 "zookeeper://host:port,host:port/path"));
  };
  auto colon = std::min(text.find("://"), text.size());
  auto scheme =
      std::find_if(std::begin(SCHEMES), std::end(SCHEMES),
                   [&](const RegistryScheme& one) { return one.name == text.substr(0, colon); });
  if (scheme == std::end(SCHEMES) || colon == text.size()) refuse("it is none");
  auto rest = text.substr(colon + 3);
  auto slash = std::min(rest.find('/'), rest.size());
  Registry registry{scheme->kind, scheme->secure, {}, std::string(rest.substr(slash))};
  while (registry.path.ends_with('/')) registry.path.pop_back();
  if (!isRegistryPath(registry.path)) refuse("it has a path that is none");
  std::string hosts(rest.substr(0, slash));
  for (size_t at = 0; at <= hosts.size();) {
    auto end = std::min(hosts.find(',', at), hosts.size());
    auto host = hosts.substr(at, end - at);
    if (host.empty() && hosts.empty()) host = "127.0.0.1";
    bool portless = host.ends_with(']') || host.find(':') == std::string::npos;
    if (portless) host += scheme->port;
    auto parsed = attemptNow([&] { return http::Endpoint::parse("http://" + host); });
    if (!parsed.ok()) refuse("it has no host");
    registry.hosts.push_back(host);
    at = end + 1;
  }
  bool consul = registry.kind == Registry::Kind::CONSUL;
  if (consul && !registry.path.empty()) refuse("consul's catalog has no paths");
  bool needsPath =
      registry.kind == Registry::Kind::CONSUL_KV || registry.kind == Registry::Kind::SKYDNS;
  if (needsPath && registry.path.empty()) refuse("it has no path");
  if (registry.kind == Registry::Kind::SKYDNS) {
    bool domain = registry.path.rfind('/') == 0 && registry.path.find("..") == std::string::npos &&
                  !registry.path.starts_with("/.") && !registry.path.ends_with('.');
    if (!domain) refuse("it has no domain");
    registry.path = domainPath(registry.path);
  }
  if (registry.hosts.size() > MAX_HOSTS) refuse("it has more than 16 hosts");
  return registry;
}

}  // namespace orch::integration::registrator
