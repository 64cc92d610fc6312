#include "make-catalog.h"

#include "consul-catalog.h"
#include "consul-kv-catalog.h"
#include "etcd-catalog.h"
#include "http/settings.h"
#include "login/login.h"
#include "orch/fail.h"
#include "place.h"
#include "zookeeper-catalog.h"

namespace orch::integration::registrator {

namespace {

// Of ZooKeeper, with which services go when this node is gone. Servers grant 4 to 40 s by default.
constexpr uint64_t DEFAULT_SESSION_MS = 40'000;

bool isEmpty(const http::TlsFiles& files) { return files.ca.empty() && files.certificate.empty(); }

orch::consul::ClientSettings clientOf(Config::Reader config, const Registry& registry,
                                      http::TlsFiles tls) {
  orch::consul::ClientSettings settings;
  for (auto& url : registry.urls(!isEmpty(tls))) {
    settings.endpoints.push_back(http::Endpoint::parse(url));
  }
  settings.tls = std::move(tls);
  settings.tokenFile = http::fileOf("tokenFile", config.getTokenFile());
  settings.timeout = config.getTimeoutMs() * kj::MILLISECONDS;
  return settings;
}

kj::Own<Catalog> consulKvOf(Env& env, Host& host, Config::Reader config, const Registry& registry,
                            http::TlsFiles tls) {
  if (config.getTtlMs() > 0) fail(kj::str("ttlMs: consul's keys have no time; leave it out"));
  return kj::heap<ConsulKvCatalog>(env, clientOf(config, registry, std::move(tls)),
                                   registry.path.substr(1), host.node().id.cStr());
}

kj::Own<Catalog> consulOf(Env& env, Host& host, Config::Reader config, const Registry& registry,
                          http::TlsFiles tls) {
  auto api = config.getApi();
  bool agents = api == "agent";
  if (!agents && api != "catalog") fail(kj::str("api is '", api, "'; accepted: agent or catalog"));
  if (agents && registry.hosts.size() > 1) {
    fail(
        kj::str("registry names several hosts: services belong to one agent; name that, or set "
                "'api = \"catalog\"'"));
  }
  if (!agents && config.getTtlMs() > 0) {
    fail(kj::str("ttlMs is for 'api = \"agent\"': nobody looks after other services' time"));
  }
  auto settings = clientOf(config, registry, std::move(tls));
  ConsulRules rules{host.node().id.cStr(), "", config.getScripts(), config.getTtlMs()};
  if (!agents) rules.node = kj::str("orch-", host.node().name).cStr();
  return kj::heap<ConsulCatalog>(env, host.log(), std::move(settings), std::move(rules));
}

kj::Own<Catalog> etcdOf(Env& env, Host& host, Config::Reader config, const Registry& registry,
                        const http::TlsFiles& tls) {
  std::vector<http::Endpoint> endpoints;
  for (auto& url : registry.urls(!isEmpty(tls))) endpoints.push_back(http::Endpoint::parse(url));
  EtcdRules rules{registry.path, host.node().id.cStr(), config.getTtlMs(),
                  registry.kind == Registry::Kind::SKYDNS};
  return kj::heap<EtcdCatalog>(env, endpoints, tls, config.getTimeoutMs() * kj::MILLISECONDS,
                               std::move(rules));
}

kj::Own<Catalog> zookeeperOf(Env& env, Host& host, Config::Reader config,
                             const Registry& registry) {
  orch::zookeeper::ClientSettings settings;
  for (auto& server : registry.hosts) {
    settings.servers.push_back(orch::zookeeper::Server::parse(server));
  }
  auto session = config.getTtlMs() == 0 ? DEFAULT_SESSION_MS : config.getTtlMs();
  settings.session = session * kj::MILLISECONDS;
  settings.setting = "registry";
  // An orchd that is started again takes its nodes over before they are gone.
  settings.leaves = true;
  ZookeeperRules rules{registry.path, host.node().id.cStr(),
                       config.getTimeoutMs() * kj::MILLISECONDS};
  return kj::heap<ZookeeperCatalog>(env, std::move(settings), std::move(rules));
}

}  // namespace

kj::Own<Catalog> catalogOf(Env& env, Host& host, Config::Reader config) {
  auto tls = http::tlsFilesOf({"caFile", config.getCaFile()}, {"certFile", config.getCertFile()},
                              {"keyFile", config.getKeyFile()});
  auto registry = parseRegistry(config.getRegistry().cStr());
  login::checkLogin(config.getUser().cStr(), config.getPasswordFile().cStr());
  if (config.getTtlMs() > 0 && config.getTtlMs() < LEAST_TTL_MS) {
    fail(kj::str("ttlMs is ", config.getTtlMs(), "; accepted: 0, or ", LEAST_TTL_MS, " and more"));
  }
  switch (registry.kind) {
    case Registry::Kind::ETCD:
    case Registry::Kind::SKYDNS:
      return etcdOf(env, host, config, registry, tls);
    case Registry::Kind::ZOOKEEPER:
      return zookeeperOf(env, host, config, registry);
    case Registry::Kind::CONSUL_KV:
      return consulKvOf(env, host, config, registry, std::move(tls));
    case Registry::Kind::CONSUL:
      break;
  }
  return consulOf(env, host, config, registry, std::move(tls));
}

}  // namespace orch::integration::registrator
