#include "lib/key-place.h"

#include <kj/string.h>

#include <algorithm>

#include "lib/address.h"
#include "lib/uri.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery {

namespace {

constexpr size_t MAX_KEY_HOSTS = 16;
constexpr size_t MAX_KEY_URI_BYTES = 1024;
constexpr size_t MAX_KEY_PATH_BYTES = 128;

[[noreturn]] void refuseKeyUri(const KeyServer& server, std::string_view uri, kj::StringPtr why) {
  fail(kj::str("uri: '", std::string(uri.substr(0, 200)).c_str(), "' ", why, "; accepted: ",
               server.scheme, "://host:port/prefix, or ", server.scheme, "+https://…"));
}

// Parts that can stand in a URL as they are, without slashes around them.
bool isKeyPath(std::string_view path) {
  auto whole = "/" + std::string(path) + "/";
  auto has = [&](const char* words) { return whole.find(words) != std::string::npos; };
  return path.size() <= MAX_KEY_PATH_BYTES && !has("//") && !has("/./") && !has("/../") &&
         std::all_of(path.begin(), path.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-' || c == '/';
         });
}

std::string_view withoutSlashes(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

// `host` or `host:port`.
std::string keyHostOf(const KeyServer& server, std::string_view uri, std::string_view host) {
  bool bare = host.ends_with(']') || host.find(':') == host.npos;
  auto address = attemptNow(
      [&] { return parseAddress(std::string(host) + (bare ? server.defaultPort : "")); });
  if (!address.ok()) refuseKeyUri(server, uri, "has no host");
  return kj::mv(address.value());
}

}  // namespace

std::vector<std::string> KeyPlace::urls() const {
  std::vector<std::string> all;
  for (auto& host : hosts) all.push_back((secure ? "https://" : "http://") + host);
  return all;
}

KeyPlace parseKeyPlace(const KeyServer& server, std::string_view uri, std::string_view path,
                       bool tls) {
  auto within = withoutSlashes(path);
  if (within.empty() || !isKeyPath(within)) {
    fail(kj::str("path: '", std::string(path.substr(0, 200)).c_str(),
                 "' is none; accepted: as docker/swarm/nodes"));
  }
  auto parts = splitUri(uri);
  bool https = parts.scheme == std::string(server.scheme) + "+https";
  bool known = https || parts.scheme == server.scheme;
  if (!known || uri.size() > MAX_KEY_URI_BYTES) {
    refuseKeyUri(server, uri, kj::str("is no ", server.scheme));
  }
  std::string_view rest = parts.rest;
  auto slash = std::min(rest.find('/'), rest.size());
  auto prefix = withoutSlashes(rest.substr(slash));
  if (!prefix.empty() && !isKeyPath(prefix)) {
    refuseKeyUri(server, uri, "has a prefix that is none");
  }
  KeyPlace place;
  place.secure = tls || https;
  auto hosts = rest.substr(0, slash);
  for (size_t at = 0; at <= hosts.size();) {
    auto end = std::min(hosts.find(',', at), hosts.size());
    place.hosts.push_back(keyHostOf(server, uri, hosts.substr(at, end - at)));
    at = end + 1;
  }
  if (place.hosts.size() > MAX_KEY_HOSTS) refuseKeyUri(server, uri, "has more than 16 hosts");
  auto start = prefix.empty() ? std::string() : std::string(prefix) + "/";
  place.nodes = start + std::string(within) + "/";
  place.details = start + "orch/" + std::string(within) + "/";
  return place;
}

}  // namespace orch::discovery
