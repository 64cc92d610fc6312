// The promises of the kind, kept by the plugin's own file against a real ZooKeeper.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "config.capnp.h"
#include "orch/attempt.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"
#include "zookeeper/testing/test-relay.h"
#include "zookeeper/testing/test-zookeeper.h"

namespace orch::discovery::zookeeper {
namespace {

using Addresses = std::vector<std::string>;
using orch::zookeeper::Multi;
using orch::zookeeper::TestClient;
using orch::zookeeper::TestRelay;
using orch::zookeeper::TestZookeeper;

// Of a session whose end is waited for: short, and longer than a busy machine has a process wait.
constexpr uint32_t MOMENT_MS = 4000;

struct Loop {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  kj::WaitScope& scope = io.waitScope;
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, scope, what, kj::mv(reached));
  }
};

struct Options {
  std::string uri;
  std::string user, passwordFile;
  uint32_t sessionMs = 30'000;
  uint64_t timeoutMs = 10'000;
  testing::Isolation isolation = testing::Isolation::KERNEL;
};

// The plugin.
struct Backend {
  Backend(Loop& loop, const Options& options) : Backend(*loop.env, loop.scope, options) {}
  Backend(Env& env, kj::WaitScope& scope, const Options& options)
      : scope(scope),
        module(env, ORCH_MODULE, options.isolation, scope),
        host("/nowhere", "/nowhere", "discovery.zookeeper") {
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    settings.setUri(options.uri.c_str());
    settings.setUser(options.user.c_str());
    settings.setPasswordFile(options.passwordFile.c_str());
    settings.setSessionMs(options.sessionMs);
    settings.setTimeoutMs(options.timeoutMs);
    host.configure(module.plugin(), settings.asReader(), scope);
    service = host.start<schema::Discovery>(module.plugin(), "discovery.zookeeper", scope);
  }
  kj::Promise<void> watch(conformance::SeenByWatch& seen) {
    auto request = service.watchRequest();
    request.setSink(conformance::keepSeen(seen));
    return request.send().ignoreResult().eagerlyEvaluate(nullptr);
  }
  kj::Promise<void> registering(
      kj::StringPtr address, uint64_t ttlMs = 60'000,
      schema::DiscoveryEntry::Role role = schema::DiscoveryEntry::Role::MANAGER) {
    auto request = service.registerRequest();
    request.setTtlMs(ttlMs);
    auto entry = request.initEntry();
    entry.setAddress(address);
    entry.setRole(role);
    entry.setClusterDigest("digest");
    return request.send().ignoreResult();
  }
  std::string put(kj::StringPtr address, uint64_t ttlMs = 60'000,
                  schema::DiscoveryEntry::Role role = schema::DiscoveryEntry::Role::MANAGER) {
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

std::string uriOf(const std::string& endpoint, const std::string& prefix) {
  return "zk://" + endpoint + "/" + prefix;
}

class Subject final : public conformance::DiscoverySubject {
 public:
  Subject(Loop& loop, TestZookeeper& servers, const std::string& prefix,
          testing::Isolation isolation)
      : loop(loop),
        nodes("/" + prefix + "/docker/swarm/nodes"),
        test(*loop.env, loop.scope, servers.endpoints()) {
    for (auto& folder : {"/" + prefix, "/" + prefix + "/docker", "/" + prefix + "/docker/swarm"}) {
      test.put(folder, "");
    }
    test.put(nodes, "");
    put(present());
    Options options;
    options.uri = uriOf(servers.endpoint(), prefix);
    options.isolation = isolation;
    plugin = kj::heap<Backend>(loop, options);
  }
  kj::WaitScope& waitScope() override { return loop.scope; }
  schema::Discovery::Client backend() override { return plugin->service; }
  Addresses present() override { return {"10.0.0.1:1", "10.0.0.2:1"}; }
  void until(kj::StringPtr what, kj::Function<bool()> reached) override {
    loop.until(what, kj::mv(reached));
  }
  bool writable() override { return true; }
  bool changes() override { return true; }
  // As classic Swarm writes them, in one transaction.
  void put(const Addresses& all) override {
    Multi multi;
    for (auto& name : test.children(nodes)) multi.remove(nodes + "/" + name);
    for (auto& address : all) multi.create(nodes + "/" + address, address);
    auto done = test.client.multi(multi).wait(loop.scope);
    KJ_REQUIRE(done.code == orch::zookeeper::Code::OK);
  }
  void damage() override { test.put(nodes + "/broken", "no address"); }

 private:
  Loop& loop;
  std::string nodes;
  TestClient test;
  kj::Own<Backend> plugin;
};

TEST_CASE("zookeeper: keeps the promises of discovery in both isolations",
          "[discovery][zookeeper]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  Loop loop;
  TestZookeeper servers(*loop.env, loop.scope, "discovery-zk");
  int number = 0;
  for (auto& check : conformance::discoveryChecks()) {
    Subject subject(loop, servers, "check-" + std::to_string(++number), isolation);
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

struct Lab {
  Lab(Loop& loop, kj::StringPtr testName)
      : servers(*loop.env, loop.scope, testName), test(*loop.env, loop.scope, servers.endpoints()) {
    test.exists("/");  // it has started
    options.uri = uriOf(servers.endpoint(), "lab");
  }
  const std::string nodes = "/lab/docker/swarm/nodes/", details = "/lab/orch/docker/swarm/nodes/";
  TestZookeeper servers;
  TestClient test;
  Options options;
};

bool shows(const conformance::SeenByWatch& seen, const Addresses& all) {
  return !seen.lists.empty() && seen.lists.back() == all;
}

TEST_CASE("zookeeper: an entry is where classic Swarm has it, and another process takes it over",
          "[discovery][zookeeper]") {
  Loop loop;
  Lab lab(loop, "discovery-zk-layout");
  conformance::SeenByWatch seen;
  auto first = kj::heap<Backend>(loop, lab.options);
  Backend second(loop, lab.options);
  // It is watched before there is anything.
  auto watching = second.watch(seen);
  loop.until("the empty list", [&] { return shows(seen, {}); });
  CHECK(first->put("10.0.0.1:2377") == "");
  CHECK(lab.test.get(lab.nodes + "10.0.0.1:2377") == "10.0.0.1:2377");
  CHECK(lab.test.get(lab.details + "10.0.0.1:2377") == "manager digest -");
  loop.until("the entry", [&] { return shows(seen, {"10.0.0.1:2377"}); });
  auto lists = seen.lists.size();
  // As after a restart: the same entry by another session, while the first one still lives.
  first = nullptr;
  CHECK(lab.test.exists(lab.nodes + "10.0.0.1:2377"));
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(second.put("10.0.0.2:2377") == "");
  loop.until("the other entry", [&] { return seen.lists.back().size() == 2; });
  CHECK(seen.lists.size() == lists + 1);
  CHECK(seen.failures == Addresses{});
  // What a node is now is told as well.
  CHECK(second.put("10.0.0.1:2377", 60'000, schema::DiscoveryEntry::Role::WORKER) == "");
  CHECK(lab.test.get(lab.details + "10.0.0.1:2377") == "worker digest -");
  loop.until("the change", [&] { return seen.lists.size() == lists + 2; });
}

TEST_CASE("zookeeper: an entry goes when its time is over, and not before",
          "[discovery][zookeeper]") {
  Loop loop;
  Lab lab(loop, "discovery-zk-ttl");
  testing::HeldTime time(*loop.env, loop.scope);
  Backend plugin(time, loop.scope, lab.options);
  CHECK(plugin.put("10.0.0.9:1", 180'000) == "");
  CHECK(plugin.put("10.0.0.8:1", 300'000) == "");
  time.advance(170 * kj::SECONDS);
  CHECK(plugin.put("10.0.0.9:1", 180'000) == "");
  time.advance(170 * kj::SECONDS);
  loop.until("the end of the other", [&] { return !lab.test.exists(lab.nodes + "10.0.0.8:1"); });
  CHECK(lab.test.exists(lab.nodes + "10.0.0.9:1"));
  time.advance(10 * kj::SECONDS);
  loop.until("the end of one", [&] { return !lab.test.exists(lab.nodes + "10.0.0.9:1"); });
  loop.until("of its details", [&] { return !lab.test.exists(lab.details + "10.0.0.9:1"); });
  // It can be there again.
  CHECK(plugin.put("10.0.0.9:1") == "");
  CHECK(lab.test.exists(lab.nodes + "10.0.0.9:1"));
}

TEST_CASE("zookeeper: an address that is unregistered while it is being registered is not there",
          "[discovery][zookeeper]") {
  Loop loop;
  Lab lab(loop, "discovery-zk-order");
  Backend plugin(loop, lab.options);
  CHECK(plugin.put("10.0.0.8:1") == "");
  auto coming = plugin.registering("10.0.0.9:1").eagerlyEvaluate(nullptr);
  plugin.unregistering("10.0.0.9:1").wait(loop.scope);
  coming.wait(loop.scope);
  CHECK(lab.test.exists(lab.nodes + "10.0.0.8:1"));
  CHECK_FALSE(lab.test.exists(lab.nodes + "10.0.0.9:1"));
  CHECK_FALSE(lab.test.exists(lab.details + "10.0.0.9:1"));
}

TEST_CASE("zookeeper: an entry goes with the host that registered it", "[discovery][zookeeper]") {
  Loop loop;
  Lab lab(loop, "discovery-zk-gone");
  Backend watcher(loop, lab.options);
  lab.options.isolation = testing::Isolation::PROCESS;
  lab.options.sessionMs = MOMENT_MS;
  Backend dying(loop, lab.options);
  conformance::SeenByWatch seen;
  auto watching = watcher.watch(seen);
  CHECK(watcher.put("10.0.0.1:1") == "");
  CHECK(dying.put("10.0.0.2:1") == "");
  loop.until("both", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.2:1"}); });
  dying.module.kill(loop.scope);
  loop.until("one of them", [&] { return shows(seen, {"10.0.0.1:1"}); });
  CHECK(seen.failures.empty());
}

TEST_CASE("zookeeper: what happens while it is away is told when it is back, over sessions too",
          "[discovery][zookeeper]") {
  Loop loop;
  Lab lab(loop, "discovery-zk-away");
  TestRelay relay(loop.io, lab.servers.port());
  auto options = lab.options;
  options.uri = uriOf(relay.endpoint(), "lab");
  options.sessionMs = MOMENT_MS;
  options.timeoutMs = 1000;
  Backend plugin(loop, options);
  conformance::SeenByWatch seen;
  auto watching = plugin.watch(seen);
  loop.until("a connection", [&] { return plugin.put("10.0.0.9:1").empty(); });
  lab.test.put(lab.nodes + "10.0.0.1:1", "10.0.0.1:1");
  loop.until("both", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.9:1"}); });
  auto lists = seen.lists.size(), failures = seen.failures.size();
  relay.cut();
  loop.until("the failure", [&] { return seen.failures.size() > failures; });
  CHECK(seen.failures.back().starts_with("ZooKeeper at '" + relay.endpoint() +
                                         "' does not answer: "));
  CHECK(seen.lists.size() == lists);
  // The session ends meanwhile, and what was registered goes with it …
  loop.until("the end of the session", [&] { return !lab.test.exists(lab.nodes + "10.0.0.9:1"); });
  lab.test.put(lab.nodes + "10.0.0.2:1", "10.0.0.2:1");
  relay.reach();
  // … but its time is not over.
  loop.until("all three", [&] { return seen.lists.back().size() == 3; });
  lab.test.remove(lab.nodes + "10.0.0.2:1");
  loop.until("two of them", [&] { return seen.lists.back().size() == 2; });
  // A server that is back is told as well, though nothing has changed.
  lists = seen.lists.size();
  failures = seen.failures.size();
  lab.servers.kill();
  loop.until("the failure", [&] { return seen.failures.size() > failures; });
  lab.servers.start();
  loop.until("that it works again", [&] { return seen.lists.size() > lists; });
  CHECK(shows(seen, {"10.0.0.1:1", "10.0.0.9:1"}));
}

TEST_CASE("zookeeper: who may not read is told so, and who may not write as well",
          "[discovery][zookeeper]") {
  Loop loop;
  Lab lab(loop, "discovery-zk-acl");
  testing::TestFolder folder("discovery-zk-password");
  std::filesystem::create_directories(folder.path().cStr());
  auto options = lab.options;
  options.user = "orch";
  options.passwordFile = folder.sub("password").cStr();
  std::ofstream(options.passwordFile) << "secret\n";
  Backend plugin(loop, options);
  conformance::SeenByWatch sees, seen;
  auto watching = plugin.watch(sees);
  CHECK(plugin.put("10.0.0.1:1") == "");
  loop.until("the entry", [&] { return shows(sees, {"10.0.0.1:1"}); });
  CHECK(sees.failures.empty());
  Backend blind(loop, lab.options);
  auto second = blind.watch(seen);
  loop.until("the failure", [&] { return !seen.failures.empty(); });
  auto words = "' refuses: not authenticated; 'user' and 'passwordFile' have to be those of";
  CHECK(seen.failures[0].find(words) != std::string::npos);
  CHECK(seen.lists.empty());
  CHECK(blind.put("10.0.0.1:1").find(words) != std::string::npos);
}

}  // namespace
}  // namespace orch::discovery::zookeeper
