#include "orch/plugin.h"

#include "config.capnp.h"
#include "lib/uri.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "token-backend.h"

namespace orch::discovery::token {
namespace {

HubUri hubOf(Config::Reader settings) {
  if (settings.getUri().size() == 0) return {};
  auto parsed = attemptNow([&] { return parseHubUri(settings.getUri().cStr()); });
  if (!parsed.ok()) fail(kj::str("uri: ", parsed.message()));
  return kj::mv(parsed.value());
}

kj::StringPtr caFileOf(Config::Reader settings) {
  auto path = settings.getCaFile();
  if (path.size() > 0 && !path.startsWith("/")) {
    fail(kj::str("caFile is '", path, "'; accepted: an absolute path"));
  }
  return path;
}

class TokenPlugin final : public PluginInstance {
 public:
  TokenPlugin(Env& env, Host& host, Config::Reader settings)
      : host(host),
        backend(kj::refcounted<TokenBackend>(env, hubOf(settings), caFileOf(settings).cStr(),
                                             settings.getPollMs() * kj::MILLISECONDS,
                                             settings.getTimeoutMs() * kj::MILLISECONDS)) {}
  ~TokenPlugin() noexcept(false) override { backend->end(); }

  Task<Services> start() override {
    polling = backend->poll().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      host.log().error("discovery.token-stopped", {{"reason", e.getDescription()}});
    });
    Services services;
    services.add(host.node().instance, newTokenServer(kj::addRef(*backend)));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  kj::Own<TokenBackend> backend;
  kj::Promise<void> polling = nullptr;
};

}  // namespace
}  // namespace orch::discovery::token

ORCH_PLUGIN("discovery", "token", "1.0.0", orch::discovery::token::TokenPlugin,
            orch::discovery::token::Config)
