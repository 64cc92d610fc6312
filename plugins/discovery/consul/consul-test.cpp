// The promises of the kind, kept by the plugin's own file against a real consul.
#include <catch2/catch.hpp>

#include <fstream>

#include "config.capnp.h"
#include "consul/client.h"
#include "consul/testing/test-consul.h"
#include "http/testing/certificates.h"
#include "orch/attempt.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::discovery::consul {
namespace {

using Addresses = std::vector<std::string>;
using orch::consul::TestConsul;

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
  std::string caFile, tokenFile;
  testing::Isolation isolation = testing::Isolation::KERNEL;
};

// The plugin.
struct Backend {
  Backend(Loop& loop, const Options& options)
      : scope(loop.scope),
        module(*loop.env, ORCH_MODULE, options.isolation, loop.scope),
        host("/nowhere", "/nowhere", "discovery.consul") {
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    settings.setUri(options.uri.c_str());
    settings.setCaFile(options.caFile.c_str());
    settings.setTokenFile(options.tokenFile.c_str());
    host.configure(module.plugin(), settings.asReader(), loop.scope);
    service = host.start<schema::Discovery>(module.plugin(), "discovery.consul", loop.scope);
  }
  kj::Promise<void> watch(conformance::SeenByWatch& seen) {
    auto request = service.watchRequest();
    request.setSink(conformance::keepSeen(seen));
    return request.send().ignoreResult().eagerlyEvaluate(nullptr);
  }
  kj::Promise<void> registering(kj::StringPtr address, uint64_t ttlMs = 60'000) {
    auto request = service.registerRequest();
    request.setTtlMs(ttlMs);
    auto entry = request.initEntry();
    entry.setAddress(address);
    entry.setRole(schema::DiscoveryEntry::Role::MANAGER);
    entry.setClusterDigest("digest");
    return request.send().ignoreResult();
  }
  std::string put(kj::StringPtr address, uint64_t ttlMs = 60'000) {
    auto outcome = attempt(registering(address, ttlMs)).promise().wait(scope);
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

std::string uriOf(TestConsul& consul, const std::string& prefix) {
  return "consul://127.0.0.1:" + std::to_string(consul.port()) + "/" + prefix;
}

class Subject final : public conformance::DiscoverySubject {
 public:
  Subject(Loop& loop, TestConsul& consul, const std::string& prefix, testing::Isolation isolation)
      : loop(loop), nodes(prefix + "/docker/swarm/nodes/"), client(*loop.env, settingsFor(consul)) {
    put(present());
    Options options;
    options.uri = uriOf(consul, prefix);
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
    orch::consul::TxnRequest looking, txn;
    looking.getTree(nodes);
    for (auto& kv : client.transact(looking).wait(loop.scope).results) txn.erase(kv.key);
    for (auto& address : all) txn.set(nodes + address, address);
    client.transact(txn).wait(loop.scope);
  }
  void damage() override {
    orch::consul::TxnRequest txn;
    txn.set(nodes + "broken", "no address");
    client.transact(txn).wait(loop.scope);
  }

 private:
  static orch::consul::ClientSettings settingsFor(TestConsul& consul) {
    orch::consul::ClientSettings settings;
    settings.endpoints = {http::Endpoint::parse(consul.url())};
    settings.timeout = 60 * kj::SECONDS;
    return settings;
  }
  Loop& loop;
  std::string nodes;
  orch::consul::Client client;
  kj::Own<Backend> plugin;
};

TEST_CASE("consul: keeps the promises of discovery in both isolations", "[discovery][consul]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  Loop loop;
  TestConsul consul(*loop.env, loop.scope, "discovery-consul");
  int number = 0;
  for (auto& check : conformance::discoveryChecks()) {
    Subject subject(loop, consul, "check-" + std::to_string(++number), isolation);
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

struct Watched {
  Watched(Loop& loop, kj::StringPtr testName) : consul(*loop.env, loop.scope, testName) {
    consul.waitForLeader();
    options.uri = uriOf(consul, "lab");
  }
  TestConsul consul;
  Options options;
};

TEST_CASE("consul: an entry is where classic Swarm has it, and another process takes it over",
          "[discovery][consul]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Watched all(loop, "discovery-consul-layout");
  auto first = kj::heap<Backend>(loop, all.options);
  Backend second(loop, all.options);
  auto watching = second.watch(seen);
  CHECK(first->put("10.0.0.1:2377") == "");
  auto& consul = all.consul;
  CHECK(consul.ctl({"kv", "get", "lab/docker/swarm/nodes/10.0.0.1:2377"}) == "10.0.0.1:2377\n");
  CHECK(consul.ctl({"kv", "get", "lab/orch/docker/swarm/nodes/10.0.0.1:2377"}) ==
        "manager digest -\n");
  loop.until("the entry", [&] {
    return !seen.lists.empty() && seen.lists.back() == Addresses{"10.0.0.1:2377"};
  });
  auto lists = seen.lists.size();
  // As after a restart: the same entry by another session.
  first = nullptr;
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(second.put("10.0.0.1:2377") == "");
  CHECK(second.put("10.0.0.1:2377", 120'000) == "");
  CHECK(second.put("10.0.0.2:2377") == "");
  loop.until("the other entry", [&] { return seen.lists.back().size() == 2; });
  CHECK(seen.lists.size() == lists + 1);
  CHECK(seen.failures.empty());
}

TEST_CASE("consul: an address that is unregistered while it is being registered is not there",
          "[discovery][consul]") {
  Loop loop;
  Watched all(loop, "discovery-consul-order");
  Backend plugin(loop, all.options);
  CHECK(plugin.put("10.0.0.8:1") == "");
  auto coming = plugin.registering("10.0.0.9:1").eagerlyEvaluate(nullptr);
  plugin.unregistering("10.0.0.9:1").wait(loop.scope);
  coming.wait(loop.scope);
  auto keys = all.consul.ctl({"kv", "get", "-keys", "-separator=", "lab/"});
  CHECK(keys.find("10.0.0.8:1") != std::string::npos);
  CHECK(keys.find("10.0.0.9:1") == std::string::npos);
}

// As long as consul takes for its shortest session: 20 s.
TEST_CASE("consul: an entry that nobody renews goes", "[discovery][consul]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Watched all(loop, "discovery-consul-ttl");
  Backend plugin(loop, all.options);
  auto watching = plugin.watch(seen);
  all.consul.ctl({"kv", "put", "lab/docker/swarm/nodes/10.0.0.1:1", "10.0.0.1:1"});
  CHECK(plugin.put("10.0.0.9:1", 1000) == "");
  loop.until("both", [&] { return !seen.lists.empty() && seen.lists.back().size() == 2; });
  loop.until("the end of one", [&] { return seen.lists.back() == Addresses{"10.0.0.1:1"}; });
  CHECK(all.consul.ctl({"kv", "get", "-keys", "-separator=", "lab/orch/"}).empty());
  // It can be there again.
  CHECK(plugin.put("10.0.0.9:1", 1000) == "");
  loop.until("both again", [&] { return seen.lists.back().size() == 2; });
}

TEST_CASE("consul: what happens while consul is away is told when it is back",
          "[discovery][consul]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Watched all(loop, "discovery-consul-away");
  all.consul.ctl({"kv", "put", "lab/docker/swarm/nodes/10.0.0.1:1", "10.0.0.1:1"});
  Backend plugin(loop, all.options);
  auto watching = plugin.watch(seen);
  CHECK(plugin.put("10.0.0.9:1") == "");
  loop.until("both", [&] { return !seen.lists.empty() && seen.lists.back().size() == 2; });
  auto lists = seen.lists.size();
  all.consul.kill();
  loop.until("the failure", [&] { return !seen.failures.empty(); });
  CHECK(seen.failures[0].starts_with("consul at 'http://127.0.0.1:"));
  CHECK(seen.lists.size() == lists);
  all.consul.start();
  all.consul.waitForLeader();
  all.consul.ctl({"kv", "put", "lab/docker/swarm/nodes/10.0.0.2:1", "10.0.0.2:1"});
  loop.until("all three", [&] { return seen.lists.back().size() == 3; });
  // The session has survived, and its keys with it.
  CHECK(plugin.put("10.0.0.9:1") == "");
  all.consul.ctl({"kv", "delete", "lab/docker/swarm/nodes/10.0.0.2:1"});
  loop.until("two of them", [&] { return seen.lists.back().size() == 2; });
}

TEST_CASE("consul: who may not read is told so, and who may not write as well",
          "[discovery][consul]") {
  conformance::SeenByWatch seen, sees;  // sinks are let go of by the last turn of the loop
  Loop loop;
  const std::string master = "11111111-2222-3333-4444-555555555555";
  TestConsul consul(
      *loop.env, loop.scope, "discovery-consul-acl", 1,
      "acl { enabled = true default_policy = \"deny\" tokens { master = \"" + master + "\" } }");
  consul.token = master;
  consul.waitForLeader();
  testing::TestFolder folder("discovery-consul-token");
  Options options;
  options.uri = uriOf(consul, "lab");
  Backend blind(loop, options);
  auto watching = blind.watch(seen);
  loop.until("the failure", [&] { return !seen.failures.empty(); });
  CHECK(seen.failures[0].find("refuses: Permission denied; 'tokenFile' has to name a file") !=
        std::string::npos);
  CHECK(seen.lists.empty());
  CHECK(blind.put("10.0.0.1:1").find("refuses: Permission denied") != std::string::npos);
  auto rules = std::string(folder.sub("rules.hcl").cStr());
  std::ofstream(rules) << "key_prefix \"lab/\" { policy = \"write\" } "
                          "session_prefix \"\" { policy = \"write\" }";
  consul.ctl({"acl", "policy", "create", "-name=orch", "-rules=@" + rules});
  auto made = consul.ctl({"acl", "token", "create", "-policy-name=orch"});
  options.tokenFile = folder.sub("token").cStr();
  std::ofstream(options.tokenFile)
      << made.substr(made.find_first_not_of(' ', made.find("SecretID:") + 9), 36) << "\n";
  Backend plugin(loop, options);
  auto second = plugin.watch(sees);
  CHECK(plugin.put("10.0.0.1:1") == "");
  loop.until("the entry", [&] { return !sees.lists.empty() && sees.lists.back().size() == 1; });
  CHECK(sees.failures.empty());
}

TEST_CASE("consul: over TLS it trusts whom it was told to", "[discovery][consul]") {
  conformance::SeenByWatch seen, wary;  // sinks are let go of by the last turn of the loop
  Loop loop;
  http::Certificates made(*loop.env, loop.scope, "discovery-consul");
  made.sign("server", "IP:127.0.0.1");
  TestConsul consul(*loop.env, loop.scope, "discovery-consul-tls", 1,
                    "cert_file = \"" + made.file("server.pem") + "\" key_file = \"" +
                        made.file("server.key") + "\"",
                    true);
  Options options;
  options.uri = uriOf(consul, "lab");
  options.caFile = made.file("ca.pem");
  Backend plugin(loop, options);
  auto watching = plugin.watch(seen);
  loop.until("the entry", [&] { return plugin.put("10.0.0.1:1").empty(); });
  loop.until("the list", [&] { return !seen.lists.empty() && seen.lists.back().size() == 1; });
  options.caFile = made.file("stranger.pem");
  Backend stranger(loop, options);
  auto second = stranger.watch(wary);
  loop.until("the failure", [&] { return !wary.failures.empty(); });
  CHECK(wary.failures[0].find("its certificate is not signed by who is in") != std::string::npos);
}

}  // namespace
}  // namespace orch::discovery::consul
