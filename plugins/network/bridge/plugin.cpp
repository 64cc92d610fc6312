#include "orch/plugin.h"

#include "config.capnp.h"
#include "driver.h"
#include "orch/schema/network.capnp.h"

namespace orch::network::bridge {
namespace {

// As the managers have it: a day.
constexpr uint64_t MAX_DRAIN_MS = 24 * 60 * 60 * 1000;

void write(const Layout& layout, const TaskRecord& record, schema::Endpoint::Builder endpoint) {
  endpoint.setTaskId(record.taskId.c_str());
  endpoint.setNamespacePath(layout.pinOf(record.taskId).c_str());
  endpoint.setAddress(ipv4Text(record.address));
  endpoint.setGateway(ipv4Text(layout.gateway));
  if (!layout.twins) return;
  endpoint.setAddress6(ipv6Text(layout.twins->of(record.address)));
  endpoint.setGateway6(ipv6Text(layout.gateway6()));
}

class Service final : public schema::NetworkDriver::Server {
 public:
  explicit Service(kj::Own<BridgeDriver> driver) : driver(kj::mv(driver)) {}

  kj::Promise<void> info(InfoContext context) override {
    auto& layout = driver->facts();
    auto results = context.getResults();
    results.setName(layout.network.c_str());
    results.setDriver("bridge");
    results.setSubnet(subnetText(layout.subnet));
    results.setGateway(ipv4Text(layout.gateway));
    if (layout.twins) {
      results.setSubnet6(subnetText(layout.twins->range));
      results.setGateway6(ipv6Text(layout.gateway6()));
    }
    results.setTotal(driver->addresses().total());
    results.setUsed(driver->addresses().inUse());
    auto options = results.initOptions(3);
    options[0].setKey("bridge");
    options[0].setValue(layout.bridge.c_str());
    options[1].setKey("mtu");
    options[1].setValue(kj::str(layout.mtu));
    options[2].setKey("table");
    options[2].setValue(layout.table.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> attach(AttachContext context) override { return doAttach(context); }
  kj::Promise<void> detach(DetachContext context) override {
    return driver->detach(context.getParams().getTaskId().cStr());
  }
  kj::Promise<void> retain(RetainContext context) override { return doRetain(context); }
  kj::Promise<void> drain(DrainContext context) override { return doDrain(context); }
  kj::Promise<void> check(CheckContext context) override { return doCheck(context); }

 private:
  Task<void> doAttach(AttachContext context) {
    auto record = co_await driver->attach(context.getParams().getTaskId().cStr());
    write(driver->facts(), record, context.getResults().initEndpoint());
  }
  Task<void> doDrain(DrainContext context) {
    auto params = context.getParams();
    auto limit = kj::min(params.getLimitMs(), MAX_DRAIN_MS) * kj::MILLISECONDS;
    auto open = co_await driver->drain(params.getTaskId().cStr(), limit);
    context.getResults().setOpen(open);
  }
  Task<void> doCheck(CheckContext context) {
    auto& network = driver->facts().network;
    auto only = context.getParams().getNetwork();
    if (only.size() > 0 && only != network.c_str()) co_return;
    auto findings = co_await driver->check(context.getParams().getRepair());
    auto results = context.getResults();
    findings.write(results);
    auto taskIds = driver->taskIds();
    auto list = results.initMembers(taskIds.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setNetwork(network.c_str());
      list[i].setId(taskIds[i].c_str());
    }
  }
  Task<void> doRetain(RetainContext context) {
    std::vector<std::string> taskIds;
    for (auto taskId : context.getParams().getTaskIds()) taskIds.push_back(taskId.cStr());
    auto records = co_await driver->retain(kj::mv(taskIds));
    auto list = context.getResults().initEndpoints(records.size());
    for (size_t i = 0; i < records.size(); ++i) write(driver->facts(), records[i], list[i]);
  }

  kj::Own<BridgeDriver> driver;
};

class Bridge final : public PluginInstance {
 public:
  Bridge(Env& env, Host& host, Config::Reader settings)
      : name(kj::str(host.node().instance)),
        driver(kj::refcounted<BridgeDriver>(
            env, host.log(), layoutOf(settings, host.node()),
            [this, &host] { host.publish("rules.restored", name); })) {}
  // What offers its service may live longer.
  ~Bridge() noexcept(false) override { driver->stopLooking(); }

  Task<void> recover() override { return driver->recover(); }
  Task<Services> start() override {
    co_await driver->start();
    Services services;
    services.add(name, schema::NetworkDriver::Client(kj::heap<Service>(kj::addRef(*driver))));
    co_return kj::mv(services);
  }
  Task<void> stop() override { return driver->stop(); }

 private:
  kj::String name;
  kj::Own<BridgeDriver> driver;
};

}  // namespace
}  // namespace orch::network::bridge

ORCH_PLUGIN("network", "bridge", "1.0.0", orch::network::bridge::Bridge,
            orch::network::bridge::Config, orch::Capabilities{CAP_NET_ADMIN, CAP_SYS_ADMIN},
            orch::Keeps{orch::HOST_MOUNTS})
