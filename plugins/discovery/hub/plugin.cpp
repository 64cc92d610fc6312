#include "orch/plugin.h"

#include <kj/debug.h>

#include "config.capnp.h"
#include "lib/address.h"
#include "listener.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::hub {
namespace {

Config::Reader checked(Config::Reader settings) {
  auto address = attemptNow([&] { return parseAddress(settings.getListen().cStr()); });
  if (!address.ok()) fail(kj::str("listen: ", address.message()));
  for (auto path : {settings.getCertificateFile(), settings.getKeyFile()}) {
    if (path.size() == 0 || path.startsWith("/")) continue;
    fail(kj::str("certificateFile and keyFile: '", path, "' is no absolute path"));
  }
  if ((settings.getCertificateFile().size() > 0) != (settings.getKeyFile().size() > 0)) {
    fail(kj::str("certificateFile and keyFile belong together; accepted: both or none"));
  }
  return settings;
}

// Blocks.
kj::String readPem(const kj::Filesystem& files, const std::string& path, const char* key) {
  auto read = attemptNow([&] {
    auto absolute = kj::Path(nullptr).evalNative(path.c_str());
    return files.getRoot().openFile(absolute)->readAllText();
  });
  if (!read.ok()) fail(kj::str(key, ": cannot read '", path.c_str(), "'"));
  return kj::mv(read.value());
}

class HubPlugin final : public PluginInstance {
 public:
  HubPlugin(Env& env, Host& host, Config::Reader settings)
      : env(env),
        host(host),
        settings(checked(settings)),
        hub(env, settings, kj::str(host.node().dataDir, "/", host.node().instance).cStr()),
        listener(env, hub) {}

  Task<void> recover() override { return hub.recover(); }

  Task<Services> start() override {
    auto tls = co_await context();
    co_await listener.open(settings.getListen().cStr(), kj::mv(tls));
    running = listener.run().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      host.log().error("discovery.hub-stopped", {{"reason", e.getDescription()}});
    });
    co_return Services();
  }

 private:
  Task<kj::Maybe<kj::Own<kj::TlsContext>>> context() {
    kj::Maybe<kj::Own<kj::TlsContext>> made;
    if (settings.getKeyFile().size() == 0) co_return kj::mv(made);
    auto read = [&files = env.files(),
                 certificate = std::string(settings.getCertificateFile().cStr()),
                 key = std::string(settings.getKeyFile().cStr())] {
      auto chain = readPem(files, certificate, "certificateFile");
      return std::make_pair(kj::mv(chain), readPem(files, key, "keyFile"));
    };
    auto pems = co_await env.workers().run(kj::mv(read));
    auto loaded = attemptNow([&] {
      kj::TlsKeypair pair{kj::TlsPrivateKey(pems.second), kj::TlsCertificate(pems.first)};
      kj::TlsContext::Options options;
      options.useSystemTrustStore = false;
      options.defaultKeypair = pair;
      options.minVersion = kj::TlsVersion::TLS_1_2;
      return kj::heap<kj::TlsContext>(options);
    });
    if (!loaded.ok()) {
      fail(kj::str("certificateFile and keyFile are no certificate and its private key: ",
                   loaded.message()));
    }
    made = kj::mv(loaded.value());
    co_return kj::mv(made);
  }

  Env& env;
  Host& host;
  Config::Reader settings;
  Hub hub;
  Listener listener;
  kj::Promise<void> running = nullptr;
};

}  // namespace
}  // namespace orch::discovery::hub

ORCH_PLUGIN("discovery", "hub", "1.0.0", orch::discovery::hub::HubPlugin,
            orch::discovery::hub::Config)
