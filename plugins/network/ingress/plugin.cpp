#include "orch/plugin.h"

#include "config.capnp.h"
#include "driver.h"
#include "orch/schema/network.capnp.h"
#include "parse.h"

namespace orch::network::ingress {
namespace {

class Service final : public schema::PortPublisher::Server {
 public:
  explicit Service(kj::Own<IngressDriver> driver) : driver(kj::mv(driver)) {}

  kj::Promise<void> publish(PublishContext context) override { return doPublish(context); }
  kj::Promise<void> activate(ActivateContext context) override {
    return driver->setActive(context.getParams().getTaskId().cStr(), true);
  }
  kj::Promise<void> deactivate(DeactivateContext context) override {
    return driver->setActive(context.getParams().getTaskId().cStr(), false);
  }
  kj::Promise<void> withdraw(WithdrawContext context) override {
    return driver->withdraw(context.getParams().getTaskId().cStr());
  }
  kj::Promise<void> retain(RetainContext context) override {
    std::vector<std::string> taskIds;
    for (auto taskId : context.getParams().getTaskIds()) taskIds.push_back(taskId.cStr());
    return driver->retain(kj::mv(taskIds));
  }
  kj::Promise<void> update(UpdateContext context) override { return doUpdate(context); }
  kj::Promise<void> check(CheckContext context) override { return doCheck(context); }

 private:
  Task<void> doPublish(PublishContext context) {
    auto params = context.getParams();
    std::string taskId = params.getTaskId().cStr();
    TaskAddress address{addressOf(params.getAddress()), address6Of(params.getAddress6())};
    auto publication =
        co_await driver->publish(kj::mv(taskId), address, portsOf(params.getPorts()));
    auto list = context.getResults().initPorts(publication.ports.size());
    for (size_t i = 0; i < publication.ports.size(); ++i) publication.ports[i].write(list[i]);
  }
  Task<void> doUpdate(UpdateContext context) {
    auto news = newsOf(context.getParams().getChange());
    auto untaken = co_await driver->update(kj::mv(news));
    auto list = context.getResults().initUntaken(untaken.size());
    for (size_t i = 0; i < untaken.size(); ++i) list.set(i, untaken[i].c_str());
  }

  // Published ports are of no network.
  Task<void> doCheck(CheckContext context) {
    if (context.getParams().getNetwork().size() > 0) co_return;
    auto findings = co_await driver->check(context.getParams().getRepair());
    auto results = context.getResults();
    findings.write(results);
    auto taskIds = driver->active();
    auto list = results.initMembers(taskIds.size());
    for (uint32_t i = 0; i < list.size(); ++i) list[i].setId(taskIds[i].c_str());
  }

  kj::Own<IngressDriver> driver;
};

class Ingress final : public PluginInstance {
 public:
  Ingress(Env& env, Host& host, Config::Reader settings)
      : name(kj::str(host.node().instance)),
        driver(kj::refcounted<IngressDriver>(
            env, host.log(), layoutOf(settings, host.node()),
            [this, &host](kj::StringPtr topic) { host.publish(topic, name); })) {}
  // What offers its service may live longer.
  ~Ingress() noexcept(false) override { driver->tellNobody(); }

  Task<void> recover() override { return driver->recover(); }
  Task<Services> start() override {
    co_await driver->start();
    Services services;
    services.add(name, schema::PortPublisher::Client(kj::heap<Service>(kj::addRef(*driver))));
    co_return kj::mv(services);
  }
  Task<void> stop() override { return driver->stop(); }

 private:
  kj::String name;
  kj::Own<IngressDriver> driver;
};

}  // namespace
}  // namespace orch::network::ingress

ORCH_PLUGIN("network", "ingress", "1.0.0", orch::network::ingress::Ingress,
            orch::network::ingress::Config,
            orch::Capabilities{CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_SYS_ADMIN})
