// For the tests beside it: the plugin on real servers of consul.
#pragma once

#include <catch2/catch.hpp>

#include "config.capnp.h"
#include "consul-store.h"
#include "consul/testing/test-consul.h"
#include "http/testing/certificates.h"
#include "http/testing/test-relay.h"
#include "lib/testing/test-node.h"

namespace orch::store::consul {

struct Backend {
  static constexpr const char* NAME = "store.consul";
  static constexpr const char* TITLE = "consul";
  static constexpr const char* SHORT = "consul";
  static constexpr const char* NO_QUORUM =
      "; see that it runs, that most of its servers do, and that this is its address";
  using Config = consul::Config;
  using Servers = TestConsul;
  using Relay = http::TestRelay;
  struct Options : ServerOptions {
    Options() { prefix = "orch-test/"; }
    std::string ca, cert, key, tokenFile;
  };
  static void configure(Config::Builder settings, const Options& options) {
    settings.setCa(options.ca.c_str());
    settings.setCert(options.cert.c_str());
    settings.setKey(options.key.c_str());
    settings.setTokenFile(options.tokenFile.c_str());
  }
  static std::string prefix(int number) { return "orch-test/" + std::to_string(number) + "/"; }
  static std::vector<std::string> endpoints(Servers& consul) { return consul.urls(); }
  static std::string endpoint(Servers& consul, size_t index) { return consul.url(index); }
  static std::string endpoint(Relay& relay) { return relay.url(); }
  static uint16_t port(Servers& consul, size_t index) { return consul.port(index); }
  static void passRefused(Relay& relay, kj::WaitScope& scope) {
    auto answers = relay.passHeld().wait(scope);
    REQUIRE(answers.size() >= 1);
    for (auto& answer : answers) {
      INFO(answer);
      CHECK(answer.find("HTTP/1.1 409") == 0);
    }
  }
  static size_t follower(Servers& consul) {
    consul.waitForLeader();
    return (consul.leader() + 1) % 3;
  }
  static bool answersOld(Servers& consul, size_t index, const std::string& prefix) {
    return consul.ctl({"kv", "get", "-stale", "-keys", "-separator=", prefix}, index)
               .find("object/task a") != std::string::npos;
  }
  static bool holds(Env&, kj::WaitScope&, Servers& consul, const std::string& prefix,
                    const std::string& key) {
    auto listed = consul.ctl({"kv", "get", "-keys", "-separator=", prefix}) + "\n";
    return listed.find("object/task " + key + "\n") != std::string::npos;
  }
  static bool isEmpty(Env&, kj::WaitScope&, Servers& consul) {
    return consul.ctl({"kv", "get", "-keys", "-separator=", "orch"}).find("orch") ==
           std::string::npos;
  }
  static std::vector<std::string> strangers(const std::string& prefix) {
    return {prefix + "object/task stranger", prefix + "something"};
  }
  static void put(Env&, kj::WaitScope&, Servers& consul, const std::string& key,
                  const std::string& value) {
    consul.ctl({"kv", "put", key, value});
  }
  static void remove(Env&, kj::WaitScope&, Servers& consul, const std::string& key) {
    consul.ctl({"kv", "delete", key});
  }
  static std::string removal(const std::string& key) { return "consul kv delete '" + key + "'"; }
  static kj::Own<Servers> secureServers(Env& env, kj::WaitScope& scope, kj::StringPtr testName,
                                        const http::Certificates& made) {
    auto hcl = "cert_file = \"" + made.file("server.pem") + "\" key_file = \"" +
               made.file("server.key") + "\" ca_file = \"" + made.file("ca.pem") +
               "\" verify_incoming_https = true";
    return kj::heap<Servers>(env, scope, testName, 1, hcl, true);
  }
};
using TestStore = store::TestStore<Backend>;
using TestNode = store::TestNode<Backend>;

}  // namespace orch::store::consul
