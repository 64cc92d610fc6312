#include "orch/plugin.h"

#include "config.capnp.h"
#include "etcd-store.h"
#include "http/settings.h"
#include "lib/place.h"
#include "managed/managed-etcd.h"
#include "orch/fail.h"

namespace orch::store::etcd {
namespace {

class Etcd final : public PluginInstance {
 public:
  Etcd(Env& env, Host& host, Config::Reader config)
      : env(env), host(host), layout(config.getPrefix().cStr()) {
    settings.endpoints = http::endpointsOf(config.getEndpoints(), "http://127.0.0.1:2379");
    settings.tls = http::tlsFilesOf({"ca", config.getCa()}, {"cert", config.getCert()},
                                    {"key", config.getKey()});
    settings.timeout = config.getTimeoutMs() * kj::MILLISECONDS;
    settings.history = config.getHistoryMs() * kj::MILLISECONDS;
    // Keys and what stands around them come on top of a batch's bytes in a request of 1.5 MiB: four
    // times, in the condition, the change, the question after a failure and the record.
    shared.limits = BatchLimits{config.getMaxOps(), config.getMaxBytes(), 64, 512, 128};
    shared.knownFile = kj::str(host.node().dataDir, "/", host.node().instance, "/known").cStr();
    if (config.getPeerPort() == config.getClientPort()) {
      fail(kj::str("clientPort: it has to be another one than 'peerPort'"));
    }
    if (config.getManaged()) {
      manage(config);
    } else {
      shared.uri = uriOf("etcd", settings.endpoints, layout.all());
    }
  }

  Task<void> recover() override {
    auto reading = env.workers().run([file = shared.knownFile] { return KnownState::load(file); });
    auto known = co_await reading;
    auto state = kj::heap<EtcdStore>(env, settings, layout, kj::mv(known), shared.knownFile,
                                     Log(host.client()));
    KJ_IF_MAYBE (members, managed) {
      state->client.setRemedy(ManagedEtcd::REMEDY);
      auto& store = *state;
      ManagedEtcd::Owner owner{[&store](std::string why) { store.client.setAbsent(kj::mv(why)); },
                               [&store] { store.forget(); }};
      auto etcd =
          kj::refcounted<ManagedEtcd>(env, Log(host.client()), *members, layout, kj::mv(owner));
      state->setServers(newStoreServers(kj::addRef(*etcd)));
      running = kj::mv(etcd);
    }
    service.emplace(env, shared, kj::mv(state), Log(host.client()));
    if (running.get() != nullptr) co_await running->recover();
  }

  // Whether an etcd is there is asked by the first call: hosts start in any order.
  Task<Services> start() override {
    if (running.get() != nullptr) running->start();
    Services services;
    services.add(host.node().instance, KJ_REQUIRE_NONNULL(service, "not recovered").client());
    co_return kj::mv(services);
  }

  Task<void> stop() override {
    KJ_IF_MAYBE (offered, service) co_await offered->stop();
    if (running.get() != nullptr) co_await running->stop();
  }

 private:
  void manage(Config::Reader config) {
    bool elsewhere = config.getEndpoints().size() > 0 || config.getCa().size() > 0 ||
                     config.getCert().size() > 0;
    if (elsewhere) {
      fail(
          kj::str("managed: 'endpoints', 'ca', 'cert' and 'key' are of an etcd that exists "
                  "already; leave them out, or this"));
    }
    auto& own = managed.emplace();
    own.folder = kj::str(host.node().dataDir, "/", host.node().instance).cStr();
    own.quotaBytes = config.getQuotaBytes();
    own.peerPort = config.getPeerPort();
    own.clientPort = config.getClientPort();
    own.maxOps = config.getMaxOps();
    own.maxBytes = config.getMaxBytes();
    own.timeout = settings.timeout;
    settings.endpoints = {own.endpoint()};
    settings.tls = own.tls();
  }

  Env& env;
  Host& host;
  const Layout layout;
  EtcdSettings settings;
  SharedSettings shared;
  kj::Maybe<ManagedSettings> managed;
  kj::Maybe<SharedService> service;
  kj::Own<ManagedEtcd> running;
};

}  // namespace
}  // namespace orch::store::etcd

ORCH_PLUGIN("store", "etcd", "1.0.0", orch::store::etcd::Etcd, orch::store::etcd::Config)
