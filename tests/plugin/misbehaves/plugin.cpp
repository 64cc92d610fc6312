#include "orch/plugin.h"

#include <csignal>

#include "config.capnp.h"
#include "misbehaves.h"
#include "orch/fail.h"

namespace orch::test::misbehaves {
namespace {

class Plugin final : public PluginInstance {
 public:
  Plugin(Env& env, Host& host, Config::Reader settings) : env(env), host(host), settings(settings) {
    if (settings.getMode() == Config::Mode::REFUSE) fail(kj::str("mode 'refuse' is refused"));
  }
  Task<Services> start() override {
    switch (settings.getMode()) {
      case Config::Mode::THROW_IN_START:
        fail(kj::str("cannot start: it was told not to"));
      case Config::Mode::CRASH_IN_START:
        raise(SIGKILL);
        break;
      case Config::Mode::HANG_IN_START:
        co_await kj::Promise<void>(kj::NEVER_DONE);
        break;
      default:
        break;
    }
    Services services;
    services.add(host.node().instance, newMisbehaviour(env, host));
    co_return kj::mv(services);
  }

 private:
  Env& env;
  Host& host;
  Config::Reader settings;
};

}  // namespace
}  // namespace orch::test::misbehaves

ORCH_PLUGIN("test", "misbehaves", "1.0.0", orch::test::misbehaves::Plugin,
            orch::test::misbehaves::Config)
