#include "orch/plugin.h"

#include "config.capnp.h"
#include "lib/privilege.h"
#include "orch/fail.h"
#include "orch/schema/network.capnp.h"
#include "resolvers.h"

namespace orch::network::dns {
namespace {

std::vector<std::string> textsOf(capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> texts;
  for (auto text : list) texts.push_back(text.cStr());
  return texts;
}

class Service final : public schema::NameServer::Server {
 public:
  explicit Service(kj::Own<Resolvers> resolvers) : resolvers(kj::mv(resolvers)) {}

  kj::Promise<void> update(UpdateContext context) override {
    return resolvers->update(context.getParams().getChange());
  }
  kj::Promise<void> serve(ServeContext context) override {
    auto params = context.getParams();
    return resolvers->serve(params.getTaskId().cStr(), params.getNamespacePath().cStr(),
                            textsOf(params.getNetworks()), textsOf(params.getServers()),
                            params.getClosed());
  }
  kj::Promise<void> release(ReleaseContext context) override {
    return resolvers->release(context.getParams().getTaskId().cStr());
  }
  kj::Promise<void> retain(RetainContext context) override {
    return resolvers->retain(textsOf(context.getParams().getTaskIds()));
  }
  kj::Promise<void> check(CheckContext context) override { return doCheck(context); }

 private:
  // A task's names are of all its networks.
  Task<void> doCheck(CheckContext context) {
    if (context.getParams().getNetwork().size() > 0) co_return;
    auto findings = co_await resolvers->check(context.getParams().getRepair());
    findings.write(context.getResults());
  }

  kj::Own<Resolvers> resolvers;
};

class Dns final : public PluginInstance {
 public:
  Dns(Env& env, Host& host, Config::Reader config) : env(env), host(host) {
    KJ_REQUIRE(config.getResolvConf().startsWith("/"),
               "'resolvConf' must be an absolute path, such as /etc/resolv.conf");
    settings.resolvConf = config.getResolvConf().cStr();
    settings.timeout = config.getTimeoutMs() * kj::MILLISECONDS;
    settings.ttlSeconds = config.getTtlSeconds();
  }

  Task<Services> start() override {
    auto name = host.node().instance.asPtr();
    KJ_IF_MAYBE (missing, missingPrivilege()) {
      fail(kj::str("'", name, "' needs root: orchd lacks ", *missing));
    }
    auto resolvers = kj::refcounted<Resolvers>(env, host.log(), settings);
    Services services;
    services.add(name, schema::NameServer::Client(kj::heap<Service>(kj::mv(resolvers))));
    co_return kj::mv(services);
  }

 private:
  Env& env;
  Host& host;
  ServerSettings settings;
};

}  // namespace
}  // namespace orch::network::dns

ORCH_PLUGIN("network", "dns", "1.0.0", orch::network::dns::Dns, orch::network::dns::Config,
            orch::Capabilities{CAP_NET_ADMIN, CAP_SYS_ADMIN}, orch::Keeps{orch::HOST_MOUNTS})
