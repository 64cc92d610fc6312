#include "test-cluster.h"

#include <dlfcn.h>
#include <kj/debug.h>

#include <algorithm>
#include <filesystem>

#include "core.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "state/events.h"

namespace orch::control::manager {

using schema::TaskState;

namespace {
class InlineManager final : public PluginInstance {
 public:
  InlineManager(Env& env, Host& host, Config::Reader settings)
      : core(kj::refcounted<Core>(env, host, settings)) {}
  Task<Services> start() override { return core->start(); }
  Task<void> stop() override { return core->stop(); }

 private:
  kj::Own<Core> core;
};
}  // namespace

kj::Own<PluginInstance> makeManager(Env& env, Host& host, capnp::AnyPointer::Reader settings) {
  return kj::heap<InlineManager>(env, host, settings.getAs<Config>());
}

schema::Plugin::Client loadModule(Env& env, const char* name) {
  auto program = std::filesystem::read_symlink("/proc/self/exe");
  auto module =
      program.parent_path().parent_path() / "lib/orch/plugins" / (std::string(name) + ".so");
  void* opened = dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
  KJ_REQUIRE(opened != nullptr, dlerror());
  using Create = void (*)(Env&, schema::Plugin::Client*);
  auto create = reinterpret_cast<Create>(dlsym(opened, "orch_plugin_create"));
  KJ_REQUIRE(create != nullptr, dlerror());
  schema::Plugin::Client client = nullptr;
  create(env, &client);
  return client;
}

struct TestCluster::Used {
  Used(Env& env, const char* name)
      : host("/nowhere/data", "/nowhere/run", name), plugin(loadModule(env, name)) {}
  testing::TestHost host;
  schema::Plugin::Client plugin;
};

TestCluster::TestCluster(uint32_t maxOps, uint64_t seed, kj::StringPtr dataDir)
    : world(seed), store(maxOps), host(dataDir, "/nowhere/run", "control.manager") {
  host.addService("store.local", store.client());
  spreading = use("scheduler.spread").castAs<schema::Scheduler>();
  filtering = use("filter.constraint").castAs<schema::Filter>();
  use("filter.affinity");
}
TestCluster::~TestCluster() noexcept(false) {}

capnp::Capability::Client TestCluster::use(const char* name) {
  used.push_back(std::make_unique<Used>(world.env(), name));
  auto& fresh = *used.back();
  auto request = fresh.plugin.configureRequest();
  request.setHost(fresh.host.client());
  request.send().wait(world.waitScope());
  auto service = fresh.host.start<capnp::Capability>(fresh.plugin, name, world.waitScope());
  host.addService(name, service);
  return service;
}

void TestCluster::start() {
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setAutoInit(autoInit);
  auto client = newPlugin(machine == nullptr ? world.env() : *machine, &makeManager);
  host.configure(client, settings.asReader(), world.waitScope());
  client.recoverRequest().send().wait(world.waitScope());
  auto started = client.startRequest().send().wait(world.waitScope());
  for (auto service : started.getServices()) {
    if (service.getName() == "cluster")
      control = service.getCapability().castAs<schema::ClusterControl>();
    if (service.getName() == "dispatcher") {
      dispatcher = service.getCapability().castAs<schema::Dispatcher>();
    }
    if (service.getName() == "cluster-tasks") {
      tasksFeed = service.getCapability().castAs<schema::TaskFeed>();
    }
    if (service.getName() == "renewal") host.addService("renewal", service.getCapability());
    if (service.hasPeers()) peers.insert_or_assign(service.getName().cStr(), service.getPeers());
  }
  plugin = kj::mv(client);
}

void TestCluster::stop() {
  nodes.clear();
  host.addService("renewal", KJ_EXCEPTION(DISCONNECTED, "the manager has stopped"));
  KJ_IF_MAYBE (running, plugin) running->stopRequest().send().wait(world.waitScope());
  plugin = nullptr;
  control = nullptr;
  dispatcher = nullptr;
  tasksFeed = nullptr;
  peers.clear();
  settle();
}

ScriptedNode& TestCluster::addNode(std::string id) {
  nodes.push_back(std::make_unique<ScriptedNode>(world, dispatcher, std::move(id)));
  return *nodes.back();
}

std::string TestCluster::nextRequestId() { return "request-" + std::to_string(++requests); }

void TestCluster::fill(schema::ServiceSpec::Builder target, const Spec& spec) {
  target.setName(spec.name.c_str());
  target.getMode().initReplicated().setReplicas(spec.replicas);
  target.initTask().initContainer().setImage(spec.image.c_str());
  if (spec.more) spec.more(target);
}

std::string TestCluster::create(const Spec& spec) {
  auto request = control.createServiceRequest();
  request.setRequestId(nextRequestId().c_str());
  fill(request.initSpec(), spec);
  return request.send().wait(world.waitScope()).getService().getMeta().getId().cStr();
}

std::string TestCluster::createError(const Spec& spec) {
  auto request = control.createServiceRequest();
  request.setRequestId(nextRequestId().c_str());
  fill(request.initSpec(), spec);
  auto outcome = attempt(request.send()).wait(world.waitScope());
  return outcome.ok() ? std::string() : plainText(outcome.error()).cStr();
}

std::string TestCluster::update(const Spec& spec) {
  auto request = control.updateServiceRequest();
  request.setRequestId(nextRequestId().c_str());
  request.setId(spec.name.c_str());
  fill(request.initSpec(), spec);
  auto outcome = attempt(request.send()).wait(world.waitScope());
  return outcome.ok() ? std::string() : plainText(outcome.error()).cStr();
}

void TestCluster::scale(const std::string& name, uint32_t replicas) {
  scaleAsync(name, replicas).wait(world.waitScope());
}

kj::Promise<void> TestCluster::scaleAsync(const std::string& name, uint32_t replicas) {
  auto request = control.scaleServiceRequest();
  request.setRequestId(nextRequestId().c_str());
  request.setId(name.c_str());
  request.setReplicas(replicas);
  return request.send().ignoreResult();
}

std::string TestCluster::remove(const std::string& name) {
  auto request = control.removeServiceRequest();
  request.setRequestId(nextRequestId().c_str());
  request.setId(name.c_str());
  return request.send().wait(world.waitScope()).getServiceId().cStr();
}

capnp::Response<schema::ClusterControl::ServiceResults> TestCluster::service(
    const std::string& name) {
  auto request = control.serviceRequest();
  request.setId(name.c_str());
  return request.send().wait(world.waitScope());
}

capnp::Response<schema::ClusterControl::TasksResults> TestCluster::tasks(const std::string& name,
                                                                         const char* desired) {
  auto request = control.tasksRequest();
  request.initFilter().setServiceId(name.c_str());
  request.getFilter().setDesired(desired);
  return request.send().wait(world.waitScope());
}

capnp::Response<schema::ClusterControl::ProgressResults> TestCluster::progress(
    const std::string& name) {
  auto request = control.progressRequest();
  request.setId(name.c_str());
  return request.send().wait(world.waitScope());
}

std::string TestCluster::states(const std::string& name, const char* desired) {
  auto response = tasks(name, desired);
  std::string result;
  for (auto task : response.getTasks()) {
    if (!result.empty()) result += " ";
    result += stateName(task.getStatus().getState()).cStr();
  }
  return result;
}

void TestCluster::settle() {
  world.settle();
  advance(1 * kj::MICROSECONDS);  // who lets others have their turn goes on
}

}  // namespace orch::control::manager
