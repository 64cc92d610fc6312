// The conformance suite, on the module as a node loads it.
#include <catch2/catch.hpp>

#include <filesystem>

#include "orch/conformance/store-conformance.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"
#include "test-store.h"

namespace orch::store::local {
namespace {

class Fixture final : public conformance::StoreFixture {
 public:
  Fixture(Env& env, kj::WaitScope& scope, kj::StringPtr instance, uint32_t maxOps)
      : env(env), scope(scope), instance(kj::str(instance)), maxOps(maxOps) {}
  ~Fixture() noexcept(false) override { end(); }

  schema::Store::Client fresh() override {
    end();
    std::filesystem::remove_all(folder.path().cStr());
    return reopened();
  }
  schema::Store::Client reopened() override {
    end();
    testing::TestHost host(folder.sub("data"), folder.sub("run"), instance);
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    if (maxOps != 0) settings.setMaxOps(maxOps);
    auto& made = plugin.emplace(host.configure(newModuleInstance(env), settings.asReader(), scope));
    return host.start<schema::Store>(made, instance, scope);
  }
  kj::WaitScope& waitScope() override { return scope; }

 private:
  void end() {
    KJ_IF_MAYBE (running, plugin) running->stopRequest().send().wait(scope);
    plugin = nullptr;
  }
  Env& env;
  kj::WaitScope& scope;
  kj::String instance;
  uint32_t maxOps;
  testing::TestFolder folder{"store-conformance"};
  kj::Maybe<schema::Plugin::Client> plugin;
};

void runAll(Fixture& fixture) {
  for (auto& check : conformance::storeChecks()) {
    INFO(check.name);
    CHECK_NOTHROW(check.run(fixture));
  }
}

TEST_CASE("store.local: keeps the promises of a store", "[store]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  Fixture fixture(*env, io.waitScope, "store.local", 0);
  runAll(fixture);
}

TEST_CASE("store.local: keeps them with 8 changes per batch, as another instance", "[store]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  Fixture fixture(*env, io.waitScope, "store.local#agent", 8);
  runAll(fixture);
}

TEST_CASE("store.local: keeps them in virtual time", "[store]") {
  testing::VirtualWorld world(1);
  Fixture fixture(world.env(), world.waitScope(), "store.local", 8);
  runAll(fixture);
}

}  // namespace
}  // namespace orch::store::local
