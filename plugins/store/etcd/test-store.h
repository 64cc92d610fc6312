// For the tests beside it: the plugin on real members of etcd.
#pragma once

#include <catch2/catch.hpp>

#include "config.capnp.h"
#include "etcd-store.h"
#include "etcd/testing/test-etcd.h"
#include "http/testing/certificates.h"
#include "http/testing/test-relay.h"
#include "lib/testing/test-node.h"

namespace orch::store::etcd {

struct Backend {
  static constexpr const char* NAME = "store.etcd";
  static constexpr const char* TITLE = "etcd";
  static constexpr const char* SHORT = "etcd";
  static constexpr const char* NO_QUORUM =
      "; see that most of its members run, and that 'endpoints' names them";
  using Config = etcd::Config;
  using Servers = TestEtcd;
  using Relay = http::TestRelay;
  struct Options : ServerOptions {
    Options() { prefix = "/orch-test/"; }
    uint64_t historyMs = 0;
    std::string ca, cert, key;
    bool managed = false;
    uint16_t peerPort = 0;
    uint16_t clientPort = 0;
    uint64_t quotaBytes = 0;
  };
  static void configure(Config::Builder settings, const Options& options) {
    settings.setHistoryMs(options.historyMs);
    settings.setCa(options.ca.c_str());
    settings.setCert(options.cert.c_str());
    settings.setKey(options.key.c_str());
    settings.setManaged(options.managed);
    if (options.managed) settings.setPeerPort(options.peerPort);
    if (options.managed) settings.setClientPort(options.clientPort);
    if (options.quotaBytes != 0) settings.setQuotaBytes(options.quotaBytes);
  }
  static std::string prefix(int number) { return "/orch-test/" + std::to_string(number) + "/"; }
  static std::vector<std::string> endpoints(Servers& etcd) { return etcd.urls(); }
  static std::string endpoint(Servers& etcd, size_t index) { return etcd.url(index); }
  static std::string endpoint(Relay& relay) { return relay.url(); }
  static uint16_t port(Servers& etcd, size_t index) {
    auto url = etcd.url(index);
    return static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }
  static void passRefused(Relay& relay, kj::WaitScope& scope) {
    auto answers = relay.passHeld().wait(scope);
    REQUIRE(answers.size() >= 1);
    for (auto& answer : answers) {
      INFO(answer);
      CHECK(answer.find("HTTP/1.1 200") == 0);
      CHECK(answer.find("succeeded") == std::string::npos);
    }
  }
  static size_t follower(Servers&) { return 2; }  // the leader would do as well
  static bool answersOld(Servers& etcd, size_t index, const std::string& prefix) {
    return etcd.ctl({"get", "--prefix", "--consistency=s", "--keys-only", prefix}, index)
               .find("object/task a") != std::string::npos;
  }
  static bool holds(Env&, kj::WaitScope&, Servers& etcd, const std::string& prefix,
                    const std::string& key) {
    return !etcd.ctl({"get", "--keys-only", prefix + "object/task " + key}).empty();
  }
  static bool isEmpty(Env&, kj::WaitScope&, Servers& etcd) {
    return etcd.ctl({"get", "--prefix", "--keys-only", "/"}).empty();
  }
  static std::vector<std::string> strangers(const std::string& prefix) {
    return {prefix + "object/task stranger", prefix + "something"};
  }
  static void put(Env&, kj::WaitScope&, Servers& etcd, const std::string& key,
                  const std::string& value) {
    etcd.ctl({"put", key, value});
  }
  static void remove(Env&, kj::WaitScope&, Servers& etcd, const std::string& key) {
    etcd.ctl({"del", key});
  }
  static std::string removal(const std::string& key) { return "etcdctl del '" + key + "'"; }
  static kj::Own<Servers> secureServers(Env& env, kj::WaitScope& scope, kj::StringPtr testName,
                                        const http::Certificates& made) {
    std::vector<std::string> arguments{
        "--cert-file=" + made.file("server.pem"), "--key-file=" + made.file("server.key"),
        "--trusted-ca-file=" + made.file("ca.pem"), "--client-cert-auth"};
    return kj::heap<Servers>(env, scope, testName, 1, arguments, "https");
  }
};
using TestStore = store::TestStore<Backend>;
using TestNode = store::TestNode<Backend>;

}  // namespace orch::store::etcd
