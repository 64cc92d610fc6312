#include "orch/plugin.h"

#include "config.capnp.h"
#include "consul-store.h"
#include "http/settings.h"
#include "lib/place.h"

namespace orch::store::consul {
namespace {

class Consul final : public PluginInstance {
 public:
  Consul(Env& env, Host& host, Config::Reader config)
      : env(env), host(host), layout(config.getPrefix().cStr()) {
    settings.endpoints = http::endpointsOf(config.getEndpoints(), "http://127.0.0.1:8500");
    settings.tls = http::tlsFilesOf({"ca", config.getCa()}, {"cert", config.getCert()},
                                    {"key", config.getKey()});
    settings.tokenFile = http::fileOf("tokenFile", config.getTokenFile());
    settings.timeout = config.getTimeoutMs() * kj::MILLISECONDS;
    shared.limits = BatchLimits{config.getMaxOps(), config.getMaxBytes(), 64, 512, 128};
    shared.knownFile = kj::str(host.node().dataDir, "/", host.node().instance, "/known").cStr();
    shared.uri = uriOf("consul", settings.endpoints, layout.all());
  }

  Task<void> recover() override {
    auto reading = env.workers().run([file = shared.knownFile] { return KnownState::load(file); });
    auto known = co_await reading;
    auto state = kj::heap<ConsulStore>(env, settings, layout, kj::mv(known), shared.knownFile,
                                       Log(host.client()));
    service.emplace(env, shared, kj::mv(state), Log(host.client()));
  }

  // Whether a consul is there is asked by the first call: hosts start in any order.
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, KJ_REQUIRE_NONNULL(service, "not recovered").client());
    co_return kj::mv(services);
  }

  Task<void> stop() override {
    KJ_IF_MAYBE (running, service) co_await running->stop();
  }

 private:
  Env& env;
  Host& host;
  const Layout layout;
  ClientSettings settings;
  SharedSettings shared;
  kj::Maybe<SharedService> service;
};

}  // namespace
}  // namespace orch::store::consul

ORCH_PLUGIN("store", "consul", "1.0.0", orch::store::consul::Consul, orch::store::consul::Config)
