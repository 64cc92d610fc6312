// For the tests of stores whose state is on servers of others: the plugin on real servers.
// `Backend` is what a plugin's test-store.h says of itself:
//   NAME                               of the plugin, `store.etcd`
//   TITLE                              of the servers, as errors call them: `etcd`
//   SHORT                              begins the names of folders
//   Config, Options, Servers, Relay    Options adds settings of its own to ServerOptions
//   configure(Config::Builder, const Options&)     of those
//   prefix(number)                     of a state
//   endpoints(servers), endpoint(servers, index), port(servers, index), endpoint(relay)
//   passRefused(relay, scope)          what the relay held goes on, and every answer is a refusal
//   follower(servers)                  one that does not lead; all settled when it returns
//   answersOld(servers, index, prefix) whether one without a quorum has, for those who do not mind,
//                                      the object task/a; true where it answers nobody
//   NO_QUORUM                          the end of an error when most do not answer
//   holds(env, scope, servers, prefix, key)        whether the object task/KEY is there
//   isEmpty(env, scope, servers)       whether nothing of orch's is
//   strangers(prefix)                  where the object task/stranger would be, and what is none
//   put(env, scope, servers, key, value), remove(env, scope, servers, key)
//                                      with the servers' own tools
//   removal(key)                       how an error says that it is to be removed
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "orch/conformance/store-conformance.h"
#include "orch/env.h"
#include "orch/schema/plugin.capnp.h"
#include "orch/schema/store.capnp.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"
#include "store-bench.h"

namespace orch::store {

// What all of them can be set to. 0: as the plugin has it.
struct ServerOptions {
  std::vector<std::string> endpoints;
  std::string prefix;
  uint32_t timeoutMs = 60'000;
  uint32_t maxOps = 0;
  uint64_t maxBytes = 0;
  testing::Isolation isolation = testing::Isolation::KERNEL;
};

// A real Env and the loop of a test.
struct TestLoop {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  kj::WaitScope& scope = io.waitScope;
};

// The plugin, running.
template <typename Backend>
class TestStore final {
 public:
  using Options = typename Backend::Options;
  // Both outlive it. `data` is where it keeps what it knows.
  TestStore(Env& env, kj::WaitScope& scope, kj::StringPtr data, const Options& options)
      : scope(scope),
        module(env, ORCH_MODULE, options.isolation, scope),
        host(data, data, Backend::NAME) {
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<typename Backend::Config>();
    auto endpoints = settings.initEndpoints(options.endpoints.size());
    for (size_t i = 0; i < options.endpoints.size(); ++i) {
      endpoints.set(i, options.endpoints[i].c_str());
    }
    settings.setPrefix(options.prefix.c_str());
    settings.setTimeoutMs(options.timeoutMs);
    if (options.maxOps != 0) settings.setMaxOps(options.maxOps);
    if (options.maxBytes != 0) settings.setMaxBytes(options.maxBytes);
    Backend::configure(settings, options);
    host.configure(module.plugin(), settings.asReader(), scope);
    store = host.start<schema::Store>(module.plugin(), Backend::NAME, scope);
  }
  ~TestStore() noexcept(false) {
    if (running) stop();
  }
  KJ_DISALLOW_COPY(TestStore);

  schema::Store::Client store = nullptr;
  const std::vector<std::string>& logLines() const { return host.logLines(); }
  testing::PluginModule& file() { return module; }
  void stop() { stopping().wait(scope); }
  kj::Promise<void> stopping() {
    running = false;
    return module.plugin().stopRequest().send().ignoreResult();
  }
  bool isRunning() const { return running; }
  // Its process is gone: there is nothing to be stopped.
  void abandon() { running = false; }

 private:
  kj::WaitScope& scope;
  testing::PluginModule module;
  testing::TestHost host;
  bool running = true;
};

// The plugin, opened again when it is told to; a fresh state is another prefix.
template <typename Backend>
class TestNode final : public conformance::StoreFixture {
 public:
  using Options = typename Backend::Options;
  // `env` is what the plugin gets. All outlive it.
  TestNode(Env& env, kj::WaitScope& scope, kj::StringPtr testName, Options options)
      : options(std::move(options)), env(env), scope(scope), folder(kj::str(testName, "-data")) {}

  schema::Store::Client fresh() override {
    options.prefix = Backend::prefix(++states);
    close();
    std::filesystem::remove_all(folder.path().cStr());
    return reopened();
  }
  schema::Store::Client reopened() override {
    close();
    plugin = kj::heap<TestStore<Backend>>(env, scope, folder.path(), options);
    return plugin->store;
  }
  kj::WaitScope& waitScope() override { return scope; }
  // Ends the plugin.
  void close() { plugin = nullptr; }
  // After its process was killed.
  void abandon() {
    plugin->abandon();
    plugin = nullptr;
  }
  TestStore<Backend>& running() { return *plugin; }
  bool isRunning() const { return plugin.get() != nullptr && plugin->isRunning(); }
  kj::String knownFile() const { return folder.sub(kj::str(Backend::NAME, "/known")); }

  Options options;

 private:
  Env& env;
  kj::WaitScope& scope;
  testing::TestFolder folder;
  int states = 0;
  kj::Own<TestStore<Backend>> plugin;
};

template <typename Backend>
typename Backend::Options optionsFor(std::vector<std::string> endpoints) {
  typename Backend::Options options;
  options.endpoints = std::move(endpoints);
  return options;
}

// Servers and a node. `name` is what the test is about.
template <typename Backend>
struct OneNode {
  explicit OneNode(kj::StringPtr name, size_t size = 1)
      : testName(kj::str(Backend::SHORT, "-", name)),
        servers(*loop.env, loop.scope, testName, size),
        node(*loop.env, loop.scope, testName, optionsFor<Backend>(Backend::endpoints(servers))) {}
  // Another plugin on the same servers.
  TestNode<Backend> another(kj::StringPtr name, typename Backend::Options options) {
    return TestNode<Backend>(*loop.env, loop.scope, kj::str(testName, "-", name),
                             std::move(options));
  }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*loop.env, loop.scope, what, kj::mv(reached));
  }
  kj::String testName;
  TestLoop loop;
  typename Backend::Servers servers;
  TestNode<Backend> node;
};

// The plugin's deadlines come when the test says so; the servers are as fast as they are.
template <typename Backend>
struct HeldNode {
  explicit HeldNode(kj::StringPtr name, size_t size = 1)
      : testName(kj::str(Backend::SHORT, "-", name)),
        time(*loop.env, loop.scope),
        servers(*loop.env, loop.scope, testName, size) {
    auto options = optionsFor<Backend>(Backend::endpoints(servers));
    // A first call waits until a server is there.
    TestNode<Backend> ready(*loop.env, loop.scope, kj::str(testName, "-ready"), options);
    conformance::Bench(ready).load();
    options.timeoutMs = 5000;
    node = kj::heap<TestNode<Backend>>(time, loop.scope, testName, options);
  }
  // What a test that failed had under way ends by deadlines, which somebody has to let come.
  ~HeldNode() noexcept(false) {
    unwinding.catchExceptionsIfUnwinding([&] {
      if (node->isRunning()) settle("the plugin's end", node->running().stopping());
    });
  }
  // Lets the plugin's time pass as it needs it, to no end but the answer.
  template <typename T>
  T settle(kj::StringPtr what, kj::Promise<T> promise) {
    testing::until(*loop.env, loop.scope, what, [&] {
      time.advance(1 * kj::MILLISECONDS);
      return promise.poll(loop.scope);
    });
    return promise.wait(loop.scope);
  }
  kj::String testName;
  TestLoop loop;
  testing::HeldTime time;
  typename Backend::Servers servers;
  kj::Own<TestNode<Backend>> node;
  kj::UnwindDetector unwinding;
};

// A sentence, and what shows it. Each is a section of the test that runs them.
struct SharedCase {
  const char* name;
  void (*run)();
};

}  // namespace orch::store
