#include "orch/plugin.h"

#include "config.capnp.h"
#include "etcd-backend.h"
#include "http/settings.h"
#include "login/login.h"

namespace orch::discovery::etcd {
namespace {

kj::Own<EtcdBackend> backendOf(Env& env, Config::Reader config) {
  login::checkLogin(config.getUser().cStr(), config.getPasswordFile().cStr());
  auto tls = http::tlsFilesOf({"caFile", config.getCaFile()}, {"certFile", config.getCertFile()},
                              {"keyFile", config.getKeyFile()});
  auto place = parseKeyPlace({"etcd", ":2379"}, config.getUri().cStr(), config.getPath().cStr(),
                             !tls.ca.empty() || !tls.certificate.empty());
  return kj::refcounted<EtcdBackend>(env, kj::mv(place), tls,
                                     config.getTimeoutMs() * kj::MILLISECONDS);
}

class EtcdPlugin final : public PluginInstance {
 public:
  EtcdPlugin(Env& env, Host& host, Config::Reader config)
      : env(env),
        host(host),
        user(config.getUser().cStr()),
        passwordFile(config.getPasswordFile().cStr()),
        backend(backendOf(env, config)) {}
  ~EtcdPlugin() noexcept(false) override { backend->end(); }

  Task<void> recover() override {
    auto reading = env.workers().run([file = passwordFile] { return login::readPassword(file); });
    auto password = co_await reading;
    backend->logIn(user, password);
  }

  Task<Services> start() override {
    following = backend->follow().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      host.log().error("discovery.etcd-stopped", {{"reason", e.getDescription()}});
    });
    Services services;
    services.add(host.node().instance, newEtcdServer(kj::addRef(*backend)));
    co_return kj::mv(services);
  }

 private:
  Env& env;
  Host& host;
  const std::string user, passwordFile;
  kj::Own<EtcdBackend> backend;
  kj::Promise<void> following = nullptr;
};

}  // namespace
}  // namespace orch::discovery::etcd

ORCH_PLUGIN("discovery", "etcd", "1.0.0", orch::discovery::etcd::EtcdPlugin,
            orch::discovery::etcd::Config)
