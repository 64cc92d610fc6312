#include "orch/plugin.h"

#include "config.capnp.h"
#include "orch/fail.h"
#include "store-server.h"

namespace orch::store::local {
namespace {

void checkRange(kj::StringPtr name, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return;
  fail(kj::str(name, " = ", value, " cannot be used; ", least, " to ", most, " is accepted"));
}

class Local final : public PluginInstance {
 public:
  Local(Env& env, Host& host, Config::Reader settings) : env(env), host(host) {
    limits.maxOps = settings.getMaxOps();
    limits.maxBytes = settings.getMaxBytes();
    checkRange("maxOps", limits.maxOps, 1, 100'000);
    checkRange("maxBytes", limits.maxBytes, 4 << 10, 64 << 20);
    options.changeRecords = settings.getChangeRecords();
    checkRange("changeRecords", options.changeRecords, 1000, 1'000'000);
    options.changeBytes = settings.getChangeBytes();
    checkRange("changeBytes", options.changeBytes, limits.maxBytes, 1ull << 40);
    options.acceptLoss = settings.getAcceptLoss();
    auto directory = settings.getDirectory();
    if (directory.size() > 0 && !directory.startsWith("/")) {
      fail(kj::str("directory = '", directory, "' cannot be used; an absolute path is accepted"));
    }
    options.directory = directory.size() > 0
                            ? directory.cStr()
                            : kj::str(host.node().dataDir, "/", host.node().instance).cStr();
    options.failPoint = [&env, &host](kj::StringPtr place) {
      env.failPoint(host.node().instance, place);
    };
  }

  Task<void> recover() override {
    // Not within the co_await: g++ 12 frees what a lambda there has captured a second time.
    auto opening =
        env.workers().run([options = options]() { return std::make_shared<LocalStore>(options); });
    auto opened = co_await opening;
    for (auto& note : opened->notes()) host.log().warn(note.id.c_str(), {{"what", note.text}});
    service.emplace(env.workers(), env.timer(), kj::mv(opened), limits, Log(host.client()));
  }

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
  BatchLimits limits;
  StoreOptions options;
  kj::Maybe<StoreService> service;
};

}  // namespace
}  // namespace orch::store::local

ORCH_PLUGIN("store", "local", "1.0.0", orch::store::local::Local, orch::store::local::Config)
