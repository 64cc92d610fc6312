// For the tests beside it: the plugin's own file against a real etcd.
#pragma once

#include <string>
#include <vector>

#include "config.capnp.h"
#include "etcd/testing/test-etcd.h"
#include "http/testing/certificates.h"
#include "lib/testing/test-backend.h"

namespace orch::discovery::etcd {

using orch::etcd::TestEtcd;

struct Plugin {
  static constexpr const char* NAME = "discovery.etcd";
  using Config = etcd::Config;
  using Servers = TestEtcd;
  struct Options : BackendOptions {
    std::string caFile, user, passwordFile;
    uint64_t timeoutMs = 10'000;
  };
  static void configure(Config::Builder settings, const Options& options) {
    settings.setCaFile(options.caFile.c_str());
    settings.setUser(options.user.c_str());
    settings.setPasswordFile(options.passwordFile.c_str());
    settings.setTimeoutMs(options.timeoutMs);
  }
  static std::string uriOf(TestEtcd& etcd, const std::string& prefix) {
    std::string hosts;
    for (auto& url : etcd.urls())
      hosts += (hosts.empty() ? "" : ",") + url.substr(url.find("://") + 3);
    return "etcd://" + hosts + "/" + prefix;
  }
  static kj::Own<TestEtcd> secureServers(Env& env, kj::WaitScope& scope, kj::StringPtr testName,
                                         const http::Certificates& made) {
    std::vector<std::string> arguments{"--cert-file=" + made.file("server.pem"),
                                       "--key-file=" + made.file("server.key")};
    return kj::heap<TestEtcd>(env, scope, testName, 1, arguments, "https");
  }
};
using Backend = TestBackend<Plugin>;

// The plugin is to be on it.
struct Lab {
  using Plugin = etcd::Plugin;
  Lab(Loop& loop, kj::StringPtr testName, size_t size = 1)
      : servers(*loop.env, loop.scope, testName, size) {
    options.uri = Plugin::uriOf(servers, "lab");
  }
  bool holds(const std::string& key) { return !servers.ctl({"get", "--keys-only", key}).empty(); }
  std::string get(const std::string& key) {
    auto printed = servers.ctl({"get", "--print-value-only", key});
    return printed.substr(0, printed.find('\n'));
  }
  void put(const std::string& key, const std::string& value) { servers.ctl({"put", key, value}); }
  // In hexadecimal digits; all that there are.
  std::string leases() { return servers.ctl({"lease", "list"}); }
  std::string leaseOf(const std::string& key) {
    const std::string field = "\"Lease\" : ";
    auto text = servers.ctl({"get", key, "--write-out=fields"});
    auto at = text.find(field);
    if (at == std::string::npos) return "";
    at += field.size();
    return kj::str(kj::hex(uint64_t(std::stoull(text.substr(at, text.find('\n', at) - at)))))
        .cStr();
  }
  const std::string nodes = "lab/docker/swarm/nodes/", details = "lab/orch/docker/swarm/nodes/";
  TestEtcd servers;
  Plugin::Options options;
};

}  // namespace orch::discovery::etcd
