#include "orch/plugin.h"

#include "config.capnp.h"
#include "lib/place.h"
#include "login/login.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "zookeeper-store.h"

namespace orch::store::zookeeper {
namespace {

constexpr uint32_t MAX_ENDPOINTS = 16;

std::vector<orch::zookeeper::Server> serversOf(Config::Reader settings) {
  auto given = settings.getEndpoints();
  if (given.size() > MAX_ENDPOINTS) {
    fail(kj::str("endpoints: ", given.size(), " are too many; at most ", MAX_ENDPOINTS));
  }
  std::vector<orch::zookeeper::Server> servers;
  for (auto text : given) {
    auto parsed = attemptNow([&] { return orch::zookeeper::Server::parse(text.cStr()); });
    if (!parsed.ok()) fail(kj::str("endpoints: ", parsed.message()));
    servers.push_back(kj::mv(parsed.value()));
  }
  if (servers.empty()) servers.push_back(orch::zookeeper::Server::parse("127.0.0.1:2181"));
  return servers;
}

class Zookeeper final : public PluginInstance {
 public:
  Zookeeper(Env& env, Host& host, Config::Reader config) : env(env), host(host) {
    settings.servers.servers = serversOf(config);
    settings.servers.session = config.getSessionMs() * kj::MILLISECONDS;
    settings.servers.user = config.getUser().cStr();
    passwordFile = config.getPasswordFile().cStr();
    login::checkLogin(settings.servers.user, passwordFile);
    settings.prefix = Layout(config.getPrefix().cStr()).top();
    settings.timeout = config.getTimeoutMs() * kj::MILLISECONDS;
    // A request of 1 MiB has the values twice, the second time up to MAX_RECORDED_BYTES, and the
    // names three times, once with three bytes for each.
    limits = BatchLimits{config.getMaxOps(), config.getMaxBytes(), 64, 512, 128};
    settings.knownFile = kj::str(host.node().dataDir, "/", host.node().instance, "/known").cStr();
  }

  Task<void> recover() override {
    auto reading = env.workers().run([file = settings.knownFile, login = passwordFile] {
      return Kept{KnownState::load(file), login::readPassword(login)};
    });
    auto kept = co_await reading;
    settings.servers.password = kept.password;
    std::vector<std::string> servers;
    for (auto& server : settings.servers.servers) servers.push_back(server.text());
    SharedSettings shared{limits, settings.knownFile, uriOf("zk", servers, settings.prefix)};
    auto state = kj::heap<ZookeeperStore>(env, settings, kj::mv(kept.known), Log(host.client()));
    service.emplace(env, kj::mv(shared), kj::mv(state), Log(host.client()));
  }

  // Whether a ZooKeeper is there is asked by the first call: hosts start in any order.
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, KJ_REQUIRE_NONNULL(service, "not recovered").client());
    co_return kj::mv(services);
  }

  Task<void> stop() override {
    KJ_IF_MAYBE (running, service) co_await running->stop();
  }

 private:
  struct Kept {
    KnownState known;
    std::string password;
  };
  Env& env;
  Host& host;
  StoreSettings settings;
  BatchLimits limits;
  std::string passwordFile;
  kj::Maybe<SharedService> service;
};

}  // namespace
}  // namespace orch::store::zookeeper

ORCH_PLUGIN("store", "zookeeper", "1.0.0", orch::store::zookeeper::Zookeeper,
            orch::store::zookeeper::Config)
