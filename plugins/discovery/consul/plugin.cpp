#include "orch/plugin.h"

#include "config.capnp.h"
#include "consul-backend.h"
#include "http/settings.h"

namespace orch::discovery::consul {
namespace {

kj::Own<ConsulBackend> backendOf(Env& env, Config::Reader config) {
  orch::consul::ClientSettings settings;
  settings.tls =
      http::tlsFilesOf({"caFile", config.getCaFile()}, {"certFile", config.getCertFile()},
                       {"keyFile", config.getKeyFile()});
  auto& tls = settings.tls;
  settings.tokenFile = http::fileOf("tokenFile", config.getTokenFile());
  settings.timeout = config.getTimeoutMs() * kj::MILLISECONDS;
  auto place = parsePlace(config.getUri().cStr(), config.getPath().cStr(),
                          !tls.ca.empty() || !tls.certificate.empty());
  settings.endpoints = place.endpoints;
  return kj::refcounted<ConsulBackend>(env, kj::mv(place), kj::mv(settings));
}

class ConsulPlugin final : public PluginInstance {
 public:
  ConsulPlugin(Env& env, Host& host, Config::Reader config)
      : host(host), backend(backendOf(env, config)) {}
  ~ConsulPlugin() noexcept(false) override { backend->end(); }

  Task<Services> start() override {
    following = backend->follow().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      host.log().error("discovery.consul-stopped", {{"reason", e.getDescription()}});
    });
    Services services;
    services.add(host.node().instance, newConsulServer(kj::addRef(*backend)));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  kj::Own<ConsulBackend> backend;
  kj::Promise<void> following = nullptr;
};

}  // namespace
}  // namespace orch::discovery::consul

ORCH_PLUGIN("discovery", "consul", "1.0.0", orch::discovery::consul::ConsulPlugin,
            orch::discovery::consul::Config)
