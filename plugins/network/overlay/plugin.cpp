#include "orch/plugin.h"

#include "config.capnp.h"
#include "driver.h"
#include "orch/schema/network.capnp.h"
#include "parse.h"

namespace orch::network::overlay {
namespace {

class Service final : public schema::LegDriver::Server {
 public:
  explicit Service(kj::Own<OverlayDriver> driver) : driver(kj::mv(driver)) {}

  kj::Promise<void> update(UpdateContext context) override {
    return driver->update(context.getParams().getChange());
  }
  kj::Promise<void> plug(PlugContext context) override {
    return driver->plug(legOf(context.getParams().getLeg()));
  }
  kj::Promise<void> unplug(UnplugContext context) override {
    auto params = context.getParams();
    return driver->unplug(params.getTaskId().cStr(), params.getNetwork().cStr());
  }
  kj::Promise<void> retain(RetainContext context) override {
    std::vector<std::string> taskIds;
    for (auto taskId : context.getParams().getTaskIds()) taskIds.push_back(taskId.cStr());
    return driver->retain(kj::mv(taskIds));
  }
  kj::Promise<void> routes(RoutesContext context) override { return doRoutes(context); }
  kj::Promise<void> check(CheckContext context) override { return doCheck(context); }

 private:
  Task<void> doRoutes(RoutesContext context) {
    auto routes = co_await driver->routes();
    co_await driver->lookAtEncryption();
    context.getResults().setBalancer(nameOf(driver->balancer()));
    context.getResults().setEncryptionKey(driver->encryptionKey());
    context.getResults().setEncryptionProblem(driver->encryptionProblem());
    auto list = context.getResults().initRoutes(routes.ipv4.size() + routes.ipv6.size());
    uint32_t i = 0;
    for (auto& route : routes.ipv4) list.set(i++, subnetText(route));
    for (auto& route : routes.ipv6) list.set(i++, subnetText(route));
  }

  Task<void> doCheck(CheckContext context) {
    std::string only = context.getParams().getNetwork().cStr();
    auto findings = co_await driver->check(only, context.getParams().getRepair());
    auto results = context.getResults();
    findings.write(results);
    auto members = driver->members(only);
    auto list = results.initMembers(members.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setNetwork(members[i].first.c_str());
      list[i].setId(members[i].second.c_str());
    }
  }

  kj::Own<OverlayDriver> driver;
};

class Overlay final : public PluginInstance {
 public:
  Overlay(Env& env, Host& host, Config::Reader settings)
      : name(kj::str(host.node().instance)),
        driver(kj::refcounted<OverlayDriver>(
            env, host.log(), layoutOf(settings, host.node()),
            [this, &host] { host.publish("routes.changed", name); })) {}
  // What offers its service may live longer.
  ~Overlay() noexcept(false) override { driver->stop(); }

  Task<void> recover() override { return driver->recover(); }
  Task<Services> start() override {
    co_await driver->start();
    Services services;
    services.add(name, schema::LegDriver::Client(kj::heap<Service>(kj::addRef(*driver))));
    co_return kj::mv(services);
  }

 private:
  kj::String name;
  kj::Own<OverlayDriver> driver;
};

}  // namespace
}  // namespace orch::network::overlay

ORCH_PLUGIN("network", "overlay", "1.0.0", orch::network::overlay::Overlay,
            orch::network::overlay::Config, orch::Capabilities{CAP_NET_ADMIN, CAP_SYS_ADMIN},
            orch::Keeps{orch::HOST_MOUNTS})
