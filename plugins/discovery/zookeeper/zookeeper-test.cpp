// The promises of the kind, kept by the plugin's own file against a real ZooKeeper.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "config.capnp.h"
#include "lib/testing/entry-cases.h"
#include "zookeeper/testing/test-relay.h"
#include "zookeeper/testing/test-zookeeper.h"

namespace orch::discovery::zookeeper {
namespace {

using orch::zookeeper::Multi;
using orch::zookeeper::TestClient;
using orch::zookeeper::TestRelay;
using orch::zookeeper::TestZookeeper;

// Of a session whose end is waited for: short, and longer than a busy machine has a process wait.
constexpr uint32_t MOMENT_MS = 4000;

struct Plugin {
  static constexpr const char* NAME = "discovery.zookeeper";
  using Config = zookeeper::Config;
  using Servers = TestZookeeper;
  struct Options : BackendOptions {
    std::string user, passwordFile;
    uint32_t sessionMs = 30'000;
    uint64_t timeoutMs = 10'000;
  };
  static void configure(Config::Builder settings, const Options& options) {
    settings.setUser(options.user.c_str());
    settings.setPasswordFile(options.passwordFile.c_str());
    settings.setSessionMs(options.sessionMs);
    settings.setTimeoutMs(options.timeoutMs);
  }
  static std::string uriOf(TestZookeeper& servers, const std::string& prefix) {
    return "zk://" + servers.endpoint() + "/" + prefix;
  }
};
using Backend = TestBackend<Plugin>;

class Outside final {
 public:
  Outside(Loop& loop, TestZookeeper& servers, const std::string& prefix)
      : scope(loop.scope),
        nodes("/" + prefix + "/docker/swarm/nodes"),
        test(*loop.env, loop.scope, servers.endpoints()) {
    for (auto& folder : {"/" + prefix, "/" + prefix + "/docker", "/" + prefix + "/docker/swarm"}) {
      test.put(folder, "");
    }
    test.put(nodes, "");
  }
  // As classic Swarm writes them, in one transaction.
  void put(const Addresses& all) {
    Multi multi;
    for (auto& name : test.children(nodes)) multi.remove(nodes + "/" + name);
    for (auto& address : all) multi.create(nodes + "/" + address, address);
    auto done = test.client.multi(multi).wait(scope);
    KJ_REQUIRE(done.code == orch::zookeeper::Code::OK);
  }
  void damage() { test.put(nodes + "/broken", "no address"); }

 private:
  kj::WaitScope& scope;
  std::string nodes;
  TestClient test;
};

TEST_CASE("zookeeper: keeps the promises of discovery in both isolations",
          "[discovery][zookeeper]") {
  keepsThePromises<Plugin, Outside>("discovery-zk");
}

struct Lab {
  using Plugin = zookeeper::Plugin;
  Lab(Loop& loop, kj::StringPtr testName)
      : servers(*loop.env, loop.scope, testName), test(*loop.env, loop.scope, servers.endpoints()) {
    test.exists("/");  // it has started
    options.uri = Plugin::uriOf(servers, "lab");
  }
  bool holds(const std::string& key) { return test.exists(key); }
  std::string get(const std::string& key) { return test.get(key); }
  void put(const std::string& key, const std::string& value) { test.put(key, value); }
  const std::string nodes = "/lab/docker/swarm/nodes/", details = "/lab/orch/docker/swarm/nodes/";
  TestZookeeper servers;
  TestClient test;
  Plugin::Options options;
};

TEST_CASE("zookeeper: an entry is where classic Swarm has it, and another process takes it over",
          "[discovery][zookeeper]") {
  anotherProcessTakesOver<Lab>("discovery-zk-layout");
}

TEST_CASE("zookeeper: an address that is unregistered while it is being registered is not there",
          "[discovery][zookeeper]") {
  unregisteredWhileItComes<Lab>("discovery-zk-order");
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
  loop.until("the end of the other", [&] { return !lab.holds(lab.nodes + "10.0.0.8:1"); });
  CHECK(lab.holds(lab.nodes + "10.0.0.9:1"));
  time.advance(10 * kj::SECONDS);
  loop.until("the end of one", [&] { return !lab.holds(lab.nodes + "10.0.0.9:1"); });
  loop.until("of its details", [&] { return !lab.holds(lab.details + "10.0.0.9:1"); });
  // It can be there again.
  CHECK(plugin.put("10.0.0.9:1") == "");
  CHECK(lab.holds(lab.nodes + "10.0.0.9:1"));
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
  options.uri = "zk://" + relay.endpoint() + "/lab";
  options.sessionMs = MOMENT_MS;
  options.timeoutMs = 1000;
  Backend plugin(loop, options);
  conformance::SeenByWatch seen;
  auto watching = plugin.watch(seen);
  loop.until("a connection", [&] { return plugin.put("10.0.0.9:1").empty(); });
  lab.put(lab.nodes + "10.0.0.1:1", "10.0.0.1:1");
  loop.until("both", [&] { return shows(seen, {"10.0.0.1:1", "10.0.0.9:1"}); });
  auto lists = seen.lists.size(), failures = seen.failures.size();
  relay.cut();
  loop.until("the failure", [&] { return seen.failures.size() > failures; });
  CHECK(seen.failures.back().starts_with("ZooKeeper at '" + relay.endpoint() +
                                         "' does not answer: "));
  CHECK(seen.lists.size() == lists);
  // The session ends meanwhile, and what was registered goes with it …
  loop.until("the end of the session", [&] { return !lab.holds(lab.nodes + "10.0.0.9:1"); });
  lab.put(lab.nodes + "10.0.0.2:1", "10.0.0.2:1");
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
