#include "place.h"

#include <kj/string.h>

#include <algorithm>

#include "lib/address.h"
#include "lib/uri.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::zookeeper {

namespace {

constexpr size_t MAX_SERVERS = 16;
constexpr size_t MAX_PLACE_BYTES = 1024;
constexpr size_t MAX_NODE_BYTES = 128;
constexpr auto DEFAULT_PORT = ":2181";

[[noreturn]] void refuseUri(std::string_view uri, const char* why) {
  fail(kj::str("uri: '", std::string(uri.substr(0, 200)).c_str(), "' ", why,
               "; accepted: zk://host:port,host:port/prefix"));
}

// Parts that ZooKeeper takes, without slashes around them.
bool isNodePath(std::string_view path) {
  auto whole = "/" + std::string(path) + "/";
  auto has = [&](const char* words) { return whole.find(words) != std::string::npos; };
  return path.size() <= MAX_NODE_BYTES && !has("//") && !has("/./") && !has("/../") &&
         !whole.starts_with("/zookeeper/") &&
         std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < 127; });
}

std::string_view trimmed(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

orch::zookeeper::Server serverOf(std::string_view uri, std::string_view host) {
  bool bare = host.ends_with(']') || host.find(':') == host.npos;
  auto address =
      attemptNow([&] { return parseAddress(std::string(host) + (bare ? DEFAULT_PORT : "")); });
  if (!address.ok()) refuseUri(uri, "has no host");
  return orch::zookeeper::Server::parse(address.value());
}

}  // namespace

Place parsePlace(std::string_view uri, std::string_view path) {
  auto within = trimmed(path);
  if (within.empty() || !isNodePath(within)) {
    fail(kj::str("path: '", std::string(path.substr(0, 200)).c_str(),
                 "' is none; accepted: as docker/swarm/nodes"));
  }
  auto parts = splitUri(uri);
  if (parts.scheme != "zk" || uri.size() > MAX_PLACE_BYTES) refuseUri(uri, "is no ZooKeeper");
  std::string_view rest = parts.rest;
  auto slash = std::min(rest.find('/'), rest.size());
  auto prefix = trimmed(rest.substr(slash));
  if (!prefix.empty() && !isNodePath(prefix)) refuseUri(uri, "has a prefix that is none");
  Place place;
  auto hosts = rest.substr(0, slash);
  for (size_t at = 0; at <= hosts.size();) {
    auto end = std::min(hosts.find(',', at), hosts.size());
    place.servers.push_back(serverOf(uri, hosts.substr(at, end - at)));
    at = end + 1;
  }
  if (place.servers.size() > MAX_SERVERS) refuseUri(uri, "has more than 16 hosts");
  auto start = prefix.empty() ? std::string() : "/" + std::string(prefix);
  place.nodes = start + "/" + std::string(within);
  place.details = start + "/orch/" + std::string(within);
  return place;
}

}  // namespace orch::discovery::zookeeper
