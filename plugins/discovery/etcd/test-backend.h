// For the tests beside it: the plugin's own file against a real etcd.
#pragma once

#include <string>
#include <vector>

#include "config.capnp.h"
#include "etcd/testing/test-etcd.h"
#include "orch/attempt.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::discovery::etcd {

using Addresses = std::vector<std::string>;
using orch::etcd::TestEtcd;
using Role = schema::DiscoveryEntry::Role;

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
  std::string caFile, user, passwordFile;
  uint64_t timeoutMs = 10'000;
  testing::Isolation isolation = testing::Isolation::KERNEL;
};

// The plugin.
struct Backend {
  Backend(Loop& loop, const Options& options)
      : scope(loop.scope),
        module(*loop.env, ORCH_MODULE, options.isolation, loop.scope),
        host("/nowhere", "/nowhere", "discovery.etcd") {
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    settings.setUri(options.uri.c_str());
    settings.setCaFile(options.caFile.c_str());
    settings.setUser(options.user.c_str());
    settings.setPasswordFile(options.passwordFile.c_str());
    settings.setTimeoutMs(options.timeoutMs);
    host.configure(module.plugin(), settings.asReader(), loop.scope);
    service = host.start<schema::Discovery>(module.plugin(), "discovery.etcd", loop.scope);
  }
  kj::Promise<void> watch(conformance::SeenByWatch& seen) {
    auto request = service.watchRequest();
    request.setSink(conformance::keepSeen(seen));
    return request.send().ignoreResult().eagerlyEvaluate(nullptr);
  }
  std::string put(kj::StringPtr address, uint64_t ttlMs = 60'000, Role role = Role::MANAGER) {
    auto request = service.registerRequest();
    request.setTtlMs(ttlMs);
    auto entry = request.initEntry();
    entry.setAddress(address);
    entry.setRole(role);
    entry.setClusterDigest("digest");
    auto outcome = attempt(request.send()).promise().wait(scope);
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  kj::WaitScope& scope;
  testing::PluginModule module;
  testing::TestHost host;
  schema::Discovery::Client service = nullptr;
};

inline std::string uriOf(TestEtcd& etcd, const std::string& prefix, size_t members = 1) {
  std::string hosts;
  for (size_t i = 0; i < members; ++i) {
    hosts += (i > 0 ? "," : "") + etcd.url(i).substr(etcd.url(i).find("://") + 3);
  }
  return "etcd://" + hosts + "/" + prefix;
}

inline bool shows(const conformance::SeenByWatch& seen, const Addresses& all) {
  return !seen.lists.empty() && seen.lists.back() == all;
}

// The plugin is to be on it.
struct Lab {
  Lab(Loop& loop, kj::StringPtr testName, size_t size = 1)
      : etcd(*loop.env, loop.scope, testName, size) {
    options.uri = uriOf(etcd, "lab", size);
  }
  std::string get(const std::string& key) { return etcd.ctl({"get", "--print-value-only", key}); }
  // In hexadecimal digits; all that there are.
  std::string leases() { return etcd.ctl({"lease", "list"}); }
  std::string leaseOf(const std::string& key) {
    const std::string field = "\"Lease\" : ";
    auto text = etcd.ctl({"get", key, "--write-out=fields"});
    auto at = text.find(field);
    if (at == std::string::npos) return "";
    at += field.size();
    return kj::str(kj::hex(uint64_t(std::stoull(text.substr(at, text.find('\n', at) - at)))))
        .cStr();
  }
  const std::string nodes = "lab/docker/swarm/nodes/", details = "lab/orch/docker/swarm/nodes/";
  TestEtcd etcd;
  Options options;
};

}  // namespace orch::discovery::etcd
