#include "orch/plugin.h"

#include "config.capnp.h"
#include "login/login.h"
#include "orch/fail.h"
#include "zookeeper-backend.h"

namespace orch::discovery::zookeeper {
namespace {

class ZookeeperPlugin final : public PluginInstance {
 public:
  ZookeeperPlugin(Env& env, Host& host, Config::Reader config)
      : env(env),
        host(host),
        timeout(config.getTimeoutMs() * kj::MILLISECONDS),
        passwordFile(config.getPasswordFile().cStr()) {
    settings.session = config.getSessionMs() * kj::MILLISECONDS;
    settings.user = config.getUser().cStr();
    settings.setting = "uri";
    // An orchd that is started again takes its entries over before they are gone.
    settings.leaves = true;
    login::checkLogin(settings.user, passwordFile);
    place = parsePlace(config.getUri().cStr(), config.getPath().cStr());
    settings.servers = place.servers;
  }
  ~ZookeeperPlugin() noexcept(false) override {
    KJ_IF_MAYBE (running, backend) (*running)->end();
  }

  Task<void> recover() override {
    auto reading = env.workers().run([file = passwordFile] { return login::readPassword(file); });
    auto password = co_await reading;
    settings.password = password;
  }

  Task<Services> start() override {
    auto& made = *backend.emplace(kj::refcounted<ZookeeperBackend>(env, place, settings, timeout));
    following = made.follow().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      host.log().error("discovery.zookeeper-stopped", {{"reason", e.getDescription()}});
    });
    Services services;
    services.add(host.node().instance, newZookeeperServer(kj::addRef(made)));
    co_return kj::mv(services);
  }

 private:
  Env& env;
  Host& host;
  Place place;
  const kj::Duration timeout;
  const std::string passwordFile;
  orch::zookeeper::ClientSettings settings;
  kj::Maybe<kj::Own<ZookeeperBackend>> backend;
  kj::Promise<void> following = nullptr;
};

}  // namespace
}  // namespace orch::discovery::zookeeper

ORCH_PLUGIN("discovery", "zookeeper", "1.0.0", orch::discovery::zookeeper::ZookeeperPlugin,
            orch::discovery::zookeeper::Config)
