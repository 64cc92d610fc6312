// The promises of the kind, kept by the plugin's own file against a real consul.
#include <catch2/catch.hpp>

#include <fstream>

#include "config.capnp.h"
#include "consul/client.h"
#include "consul/testing/test-consul.h"
#include "lib/testing/entry-cases.h"
#include "lib/testing/tls-case.h"

namespace orch::discovery::consul {
namespace {

using orch::consul::TestConsul;

struct Plugin {
  static constexpr const char* NAME = "discovery.consul";
  using Config = consul::Config;
  using Servers = TestConsul;
  struct Options : BackendOptions {
    std::string caFile, tokenFile;
  };
  static void configure(Config::Builder settings, const Options& options) {
    settings.setCaFile(options.caFile.c_str());
    settings.setTokenFile(options.tokenFile.c_str());
  }
  static std::string uriOf(TestConsul& consul, const std::string& prefix) {
    return "consul://127.0.0.1:" + std::to_string(consul.port()) + "/" + prefix;
  }
  static kj::Own<TestConsul> secureServers(Env& env, kj::WaitScope& scope, kj::StringPtr testName,
                                           const http::Certificates& made) {
    auto hcl = "cert_file = \"" + made.file("server.pem") + "\" key_file = \"" +
               made.file("server.key") + "\"";
    return kj::heap<TestConsul>(env, scope, testName, 1, hcl, true);
  }
};
using Backend = TestBackend<Plugin>;

class Outside final {
 public:
  Outside(Loop& loop, TestConsul& consul, const std::string& prefix)
      : loop(loop),
        nodes(prefix + "/docker/swarm/nodes/"),
        client(*loop.env, settingsFor(consul)) {}
  // As classic Swarm writes them, in one transaction.
  void put(const Addresses& all) {
    orch::consul::TxnRequest looking, txn;
    looking.getTree(nodes);
    for (auto& kv : client.transact(looking).wait(loop.scope).results) txn.erase(kv.key);
    for (auto& address : all) txn.set(nodes + address, address);
    client.transact(txn).wait(loop.scope);
  }
  void damage() {
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
};

TEST_CASE("consul: keeps the promises of discovery in both isolations", "[discovery][consul]") {
  keepsThePromises<Plugin, Outside>("discovery-consul");
}

struct Lab {
  using Plugin = consul::Plugin;
  Lab(Loop& loop, kj::StringPtr testName) : servers(*loop.env, loop.scope, testName) {
    servers.waitForLeader();
    options.uri = Plugin::uriOf(servers, "lab");
  }
  bool holds(const std::string& key) {
    return servers.ctl({"kv", "get", "-keys", "-separator=", key}) == key + "\n";
  }
  std::string get(const std::string& key) {
    auto printed = servers.ctl({"kv", "get", key});
    return printed.substr(0, printed.find('\n'));
  }
  void put(const std::string& key, const std::string& value) {
    servers.ctl({"kv", "put", key, value});
  }
  const std::string nodes = "lab/docker/swarm/nodes/", details = "lab/orch/docker/swarm/nodes/";
  TestConsul servers;
  Plugin::Options options;
};

TEST_CASE("consul: an entry is where classic Swarm has it, and another process takes it over",
          "[discovery][consul]") {
  anotherProcessTakesOver<Lab>("discovery-consul-layout");
}

TEST_CASE("consul: an address that is unregistered while it is being registered is not there",
          "[discovery][consul]") {
  unregisteredWhileItComes<Lab>("discovery-consul-order");
}

// consul's shortest session takes 20 s.
TEST_CASE("consul: an entry that nobody renews goes", "[discovery][consul]") {
  goesUnlessRenewed<Lab>("discovery-consul-ttl");
}

TEST_CASE("consul: what happens while consul is away is told when it is back",
          "[discovery][consul]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-consul-away");
  lab.put(lab.nodes + "10.0.0.1:1", "10.0.0.1:1");
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  CHECK(plugin.put("10.0.0.9:1") == "");
  loop.until("both", [&] { return !seen.lists.empty() && seen.lists.back().size() == 2; });
  auto lists = seen.lists.size();
  lab.servers.kill();
  loop.until("the failure", [&] { return !seen.failures.empty(); });
  CHECK(seen.failures[0].starts_with("consul at 'http://127.0.0.1:"));
  CHECK(seen.lists.size() == lists);
  lab.servers.start();
  lab.servers.waitForLeader();
  lab.put(lab.nodes + "10.0.0.2:1", "10.0.0.2:1");
  loop.until("all three", [&] { return seen.lists.back().size() == 3; });
  // The session has survived, and its keys with it.
  CHECK(plugin.put("10.0.0.9:1") == "");
  lab.servers.ctl({"kv", "delete", lab.nodes + "10.0.0.2:1"});
  loop.until("two of them", [&] { return seen.lists.back().size() == 2; });
}

TEST_CASE("consul: who may not read is told so, and who may not write as well",
          "[discovery][consul]") {
  conformance::SeenByWatch seen, sees;  // sinks are let go of by the last turn of the loop
  Loop loop;
  TestConsul consul(*loop.env, loop.scope, "discovery-consul-acl", 1, TestConsul::aclHcl());
  consul.token = TestConsul::MASTER;
  consul.waitForLeader();
  Plugin::Options options;
  options.uri = Plugin::uriOf(consul, "lab");
  Backend blind(loop, options);
  auto watching = blind.watch(seen);
  loop.until("the failure", [&] { return !seen.failures.empty(); });
  CHECK(seen.failures[0].find("refuses: Permission denied; 'tokenFile' has to name a file") !=
        std::string::npos);
  CHECK(seen.lists.empty());
  CHECK(blind.put("10.0.0.1:1").find("refuses: Permission denied") != std::string::npos);
  auto made = consul.makeToken("orch",
                               "key_prefix \"lab/\" { policy = \"write\" } "
                               "session_prefix \"\" { policy = \"write\" }");
  testing::TestFolder folder("discovery-consul-token");
  options.tokenFile = folder.sub("token").cStr();
  std::ofstream(options.tokenFile) << made.secret << "\n";
  Backend plugin(loop, options);
  auto second = plugin.watch(sees);
  CHECK(plugin.put("10.0.0.1:1") == "");
  loop.until("the entry", [&] { return shows(sees, {"10.0.0.1:1"}); });
  CHECK(sees.failures.empty());
}

TEST_CASE("consul: over TLS it trusts whom it was told to", "[discovery][consul]") {
  trustsWhomItWasToldTo<Plugin>("discovery-consul-tls");
}

}  // namespace
}  // namespace orch::discovery::consul
