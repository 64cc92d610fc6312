// For the tests of plugins that find hosts on servers of others: the plugin's own file against real
// ones. `Plugin` is what a plugin's tests say of it:
//   NAME                               `discovery.etcd`
//   Config, Options, Servers           Options adds settings of its own to BackendOptions
//   configure(Config::Builder, const Options&)     of those
//   uriOf(servers, prefix)
#pragma once

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/env.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::discovery {

using Addresses = std::vector<std::string>;
using Role = schema::DiscoveryEntry::Role;

struct Loop {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  kj::WaitScope& scope = io.waitScope;
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, scope, what, kj::mv(reached));
  }
};

struct BackendOptions {
  std::string uri;
  testing::Isolation isolation = testing::Isolation::KERNEL;
};

// The plugin, running.
template <typename Plugin>
struct TestBackend {
  using Options = typename Plugin::Options;
  TestBackend(Loop& loop, const Options& options) : TestBackend(*loop.env, loop.scope, options) {}
  TestBackend(Env& env, kj::WaitScope& scope, const Options& options)
      : scope(scope),
        module(env, ORCH_MODULE, options.isolation, scope),
        host("/nowhere", "/nowhere", Plugin::NAME) {
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<typename Plugin::Config>();
    settings.setUri(options.uri.c_str());
    Plugin::configure(settings, options);
    host.configure(module.plugin(), settings.asReader(), scope);
    service = host.start<schema::Discovery>(module.plugin(), Plugin::NAME, scope);
  }
  kj::Promise<void> watch(conformance::SeenByWatch& seen) {
    auto request = service.watchRequest();
    request.setSink(conformance::keepSeen(seen));
    return request.send().ignoreResult().eagerlyEvaluate(nullptr);
  }
  kj::Promise<void> registering(kj::StringPtr address, uint64_t ttlMs = 60'000,
                                Role role = Role::MANAGER) {
    auto request = service.registerRequest();
    request.setTtlMs(ttlMs);
    auto entry = request.initEntry();
    entry.setAddress(address);
    entry.setRole(role);
    entry.setClusterDigest("digest");
    return request.send().ignoreResult();
  }
  // What a registration says; empty: it works.
  std::string put(kj::StringPtr address, uint64_t ttlMs = 60'000, Role role = Role::MANAGER) {
    auto outcome = attempt(registering(address, ttlMs, role)).promise().wait(scope);
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  kj::Promise<void> unregistering(kj::StringPtr address) {
    auto request = service.unregisterRequest();
    request.setAddress(address);
    return request.send().ignoreResult();
  }
  kj::WaitScope& scope;
  testing::PluginModule module;
  testing::TestHost host;
  schema::Discovery::Client service = nullptr;
};

inline bool shows(const conformance::SeenByWatch& seen, const Addresses& all) {
  return !seen.lists.empty() && seen.lists.back() == all;
}

// `Outside(loop, servers, prefix)` is what classic Swarm is to them: put(addresses), which makes
// these all that there are, and damage().
template <typename Plugin, typename Outside>
class Subject final : public conformance::DiscoverySubject {
 public:
  using Options = typename Plugin::Options;
  Subject(Loop& loop, typename Plugin::Servers& servers, const std::string& prefix, Options options)
      : loop(loop), outside(loop, servers, prefix) {
    put(present());
    options.uri = Plugin::uriOf(servers, prefix);
    plugin = kj::heap<TestBackend<Plugin>>(loop, options);
  }
  kj::WaitScope& waitScope() override { return loop.scope; }
  schema::Discovery::Client backend() override { return plugin->service; }
  Addresses present() override { return {"10.0.0.1:1", "10.0.0.2:1"}; }
  void until(kj::StringPtr what, kj::Function<bool()> reached) override {
    loop.until(what, kj::mv(reached));
  }
  bool writable() override { return true; }
  bool changes() override { return true; }
  void put(const Addresses& all) override { outside.put(all); }
  void damage() override { outside.damage(); }

 private:
  Loop& loop;
  Outside outside;
  kj::Own<TestBackend<Plugin>> plugin;
};

template <typename Plugin, typename Outside>
void keepsThePromises(kj::StringPtr testName) {
  typename Plugin::Options options;
  options.isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  Loop loop;
  typename Plugin::Servers servers(*loop.env, loop.scope, testName);
  int number = 0;
  for (auto& check : conformance::discoveryChecks()) {
    Subject<Plugin, Outside> subject(loop, servers, "check-" + std::to_string(++number), options);
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

}  // namespace orch::discovery
