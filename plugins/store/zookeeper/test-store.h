// For the tests beside it: the plugin on real servers of ZooKeeper.
#pragma once

#include "config.capnp.h"
#include "layout.h"
#include "lib/testing/test-node.h"
#include "zookeeper-store.h"
#include "zookeeper/testing/test-relay.h"
#include "zookeeper/testing/test-zookeeper.h"

namespace orch::store::zookeeper {

using orch::zookeeper::TestClient;
using orch::zookeeper::TestRelay;
using orch::zookeeper::TestZookeeper;

struct Backend {
  static constexpr const char* NAME = "store.zookeeper";
  static constexpr const char* TITLE = "ZooKeeper";
  static constexpr const char* SHORT = "zk";
  static constexpr const char* NO_QUORUM =
      "; see that most of its servers run, and that 'endpoints' names them";
  using Config = zookeeper::Config;
  using Servers = TestZookeeper;
  using Relay = TestRelay;
  struct Options : ServerOptions {
    Options() { prefix = "/orch-test"; }
    uint32_t sessionMs = 2000;
    std::string user, passwordFile;
  };
  static void configure(Config::Builder settings, const Options& options) {
    settings.setSessionMs(options.sessionMs);
    settings.setUser(options.user.c_str());
    settings.setPasswordFile(options.passwordFile.c_str());
  }
  static std::string prefix(int number) { return "/orch-test-" + std::to_string(number); }
  static std::vector<std::string> endpoints(Servers& servers) { return servers.endpoints(); }
  static std::string endpoint(Servers& servers, size_t index) { return servers.endpoint(index); }
  static std::string endpoint(Relay& relay) { return relay.endpoint(); }
  static uint16_t port(Servers& servers, size_t index) { return servers.port(index); }
  static void passRefused(Relay& relay, kj::WaitScope& scope) { relay.passHeld().wait(scope); }
  static size_t follower(Servers& servers) {
    size_t index = 0;
    while (servers.role(index) == "leader") ++index;
    return index;
  }
  static bool answersOld(Servers&, size_t, const std::string&) { return true; }  // it never does
  static bool holds(Env& env, kj::WaitScope& scope, Servers& servers, const std::string& prefix,
                    const std::string& key) {
    TestClient client(env, scope, servers.endpoints());
    return client.exists(Layout(prefix).object("task:" + key));
  }
  static bool isEmpty(Env& env, kj::WaitScope& scope, Servers& servers) {
    TestClient client(env, scope, servers.endpoints());
    return client.children("/") == std::vector<std::string>{"zookeeper"};
  }
  static std::vector<std::string> strangers(const std::string& prefix) {
    Layout layout(prefix);
    return {layout.object("task:stranger"), layout.top() + "/something"};
  }
  static void put(Env& env, kj::WaitScope& scope, Servers& servers, const std::string& key,
                  const std::string& value) {
    TestClient(env, scope, servers.endpoints()).put(key, value);
  }
  static void remove(Env& env, kj::WaitScope& scope, Servers& servers, const std::string& key) {
    TestClient(env, scope, servers.endpoints()).remove(key);
  }
  static std::string removal(const std::string& key) { return "with zkCli.sh: delete " + key; }
};
using TestStore = store::TestStore<Backend>;
using TestNode = store::TestNode<Backend>;

}  // namespace orch::store::zookeeper
