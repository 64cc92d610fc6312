#include "orch/plugin.h"

#include "config.capnp.h"
#include "lib/node-address.h"
#include "login/login.h"
#include "lost-nodes.h"
#include "make-catalog.h"
#include "orch/fail.h"
#include "registration.h"

namespace orch::integration::registrator {
namespace {

RegistrationSettings settingsOf(Host& host, Config::Reader config) {
  auto addresses = config.getAddresses();
  if (addresses != "published" && addresses != "internal") {
    fail(kj::str("addresses is '", addresses, "'; accepted: published or internal"));
  }
  auto deregister = config.getDeregister();
  if (deregister != "always" && deregister != "on-success") {
    fail(kj::str("deregister is '", deregister, "'; accepted: always or on-success"));
  }
  if (config.getFeed().size() == 0) fail(kj::str("feed must name a service, as tasks"));
  checkAddress(config.getAddress().cStr());
  RegistrationSettings settings;
  settings.rules.hostname = host.node().name.cStr();
  settings.rules.address = config.getAddress().cStr();
  settings.rules.internal = addresses == "internal";
  settings.rules.explicitOnly = config.getExplicit();
  settings.rules.keepFailed = deregister == "on-success";
  settings.rules.addressLabel = config.getAddressLabel().cStr();
  for (auto tag : config.getTags()) settings.rules.tags.push_back(tag.cStr());
  settings.image = config.getImage().cStr();
  settings.resyncMs = config.getResyncMs();
  settings.noticeMs = config.getNoticeMs();
  settings.cleanup = config.getCleanup();
  return settings;
}

class Registrator final : public PluginInstance {
 public:
  Registrator(Env& env, Host& host, Config::Reader config)
      : env(env),
        user(config.getUser().cStr()),
        passwordFile(config.getPasswordFile().cStr()),
        cleanup(config.getCleanup()),
        catalog(catalogOf(env, host, config)),
        registration(env, host, *catalog, settingsOf(host, config)),
        watch(kj::refcounted<TaskWatch>(env, host, registration, config.getFeed().cStr())),
        lost(kj::refcounted<LostNodes>(env, host, *catalog)) {}
  ~Registrator() noexcept(false) override {
    watch->end();
    lost->end();
  }

  Task<void> recover() override {
    auto reading = env.workers().run([file = passwordFile] { return login::readPassword(file); });
    auto password = co_await reading;
    catalog->open(user, password);
  }

  // What was registered stays: containers run on without orchd.
  Task<Services> start() override {
    watch->start();
    if (cleanup) lost->start();
    co_return Services();
  }

 private:
  Env& env;
  const std::string user, passwordFile;
  const bool cleanup;
  kj::Own<Catalog> catalog;
  Registration registration;
  kj::Own<TaskWatch> watch;
  kj::Own<LostNodes> lost;
};

}  // namespace
}  // namespace orch::integration::registrator

ORCH_PLUGIN("integration", "registrator", "1.0.0", orch::integration::registrator::Registrator,
            orch::integration::registrator::Config,
            orch::Calls{"cluster", "image", "tasks", "trust"})
