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

kj::Own<PluginInstance> makeManager(Env& env, Host& host, capnp::AnyPointer::Reader settings) {
  return kj::heap<InlineManager>(env, host, settings.getAs<Config>());
}
}  // namespace

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

// ---- a node -------------------------------------------------------------------------------------

class ScriptedAgent final : public schema::Agent::Server {
 public:
  explicit ScriptedAgent(std::shared_ptr<ScriptedNode*> link) : link(std::move(link)) {}

  kj::Promise<void> assign(AssignContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    auto params = context.getParams();
    KJ_REQUIRE(params.getEpoch() >= node.epoch, "a lower epoch");
    node.epoch = params.getEpoch();
    ++node.orders;
    node.orderWords += params.totalSize().wordCount;
    std::map<std::string, ScriptedNode::Seen> kept;
    std::vector<std::string> changed;
    if (params.getComplete()) node.forgetNetworks();
    for (auto assignment : params.getAssignments()) {
      if (!assignment.isTask()) {
        node.takeNetwork(assignment);
        continue;
      }
      auto task = assignment.getTask();
      std::string id = task.getMeta().getId().cStr();
      auto it = node.tasks.find(id);
      auto state = it == node.tasks.end() ? task.getStatus().getState() : it->second.state;
      kept[id] = {task.getDesired(), state, task.getSpec().getContainer().getImage().cStr(),
                  task.getServiceName().cStr(), task.getSlot()};
      if (assignment.hasLogin()) {
        auto login = assignment.getLogin();
        kept[id].login =
            kj::str(login.getRegistry(), " ", login.getUser(), " ", login.getPassword()).cStr();
      }
      changed.push_back(id);
    }
    if (params.getComplete()) {
      ++node.completeSets;
      node.tasks.clear();
    }
    for (auto& entry : kept) node.tasks[entry.first] = entry.second;
    for (auto object : params.getGone()) {
      if (object.getKind() != schema::AssignedKind::TASK) {
        node.forgetNetwork(object);
        continue;
      }
      node.tasks.erase(object.getId().cStr());
      node.gone.push_back(object.getId().cStr());
    }
    for (auto& id : changed) node.follow(id);
    return kj::READY_NOW;
  }

  kj::Promise<void> logs(LogsContext context) override {
    auto params = context.getParams();
    auto request = params.getSink().linesRequest();
    auto line = request.initLines(1)[0];
    line.setText(kj::str("hello of ", params.getTaskId()).asBytes());
    auto& task = (*link)->tasks[params.getTaskId().cStr()];
    line.setTaskName(kj::str(task.serviceName.c_str(), ".", task.slot, ".", params.getTaskId()));
    auto sent = request.send().ignoreResult();
    if (!params.getOptions().getFollow()) return sent;
    return sent.then([] { return kj::Promise<void>(kj::NEVER_DONE); });
  }

  kj::Promise<void> exec(ExecContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    context.getResults().setRunning((*link)->onExec(context.getParams()));
    return kj::READY_NOW;
  }

  kj::Promise<void> ping(PingContext) override {
    if (*link != nullptr && (*link)->answersPing) return kj::READY_NOW;
    return kj::NEVER_DONE;
  }

  kj::Promise<void> settled(SettledContext) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    if (node.confirms) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    node.unconfirmed.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

  kj::Promise<void> volumes(VolumesContext context) override {
    auto list = context.getResults().initVolumes(here().size());
    uint32_t i = 0;
    for (auto& [name, user] : here()) {
      list[i].setName(name.c_str());
      if (!user.empty()) list[i].initUsedBy(1).set(0, user.c_str());
      ++i;
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> checkNetworks(CheckNetworksContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    if (!node.answersChecks) return kj::NEVER_DONE;
    node.answerCheck(context.getParams(), context.getResults());
    return kj::READY_NOW;
  }
  kj::Promise<void> removeVolume(RemoveVolumeContext context) override {
    auto found = here().find(context.getParams().getName().cStr());
    bool there = found != here().end();
    if (there && !found->second.empty()) fail(kj::str("a task uses it"));
    if (there) here().erase(found);
    context.getResults().setFound(there);
    return kj::READY_NOW;
  }
  kj::Promise<void> pruneVolumes(PruneVolumesContext context) override {
    std::vector<std::string> removed;
    for (auto& [name, user] : here()) {
      if (user.empty()) removed.push_back(name);
    }
    auto list = context.getResults().initRemoved(removed.size());
    for (uint32_t i = 0; i < removed.size(); ++i) {
      list.set(i, removed[i].c_str());
      here().erase(removed[i]);
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> readBlob(ReadBlobContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    ++node.reads;
    auto params = context.getParams();
    node.lastRead = kj::str(params.getImage(), " ", params.getBlob(), " ", params.getOffset(), " ",
                            params.getMaxBytes())
                        .cStr();
    if (!node.sends) return kj::NEVER_DONE;
    context.getResults().setData(kj::StringPtr(node.blob.c_str()).asBytes());
    context.getResults().setTotalBytes(node.blob.size());
    return kj::READY_NOW;
  }

 private:
  std::map<std::string, std::string>& here() {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    return (*link)->volumes;
  }

  std::shared_ptr<ScriptedNode*> link;
};

ScriptedNode::ScriptedNode(testing::VirtualWorld& world, schema::Dispatcher::Client dispatcher,
                           std::string id)
    : world(world),
      dispatcher(kj::mv(dispatcher)),
      id(std::move(id)),
      beating(kj::READY_NOW),
      reports(*this) {}
ScriptedNode::~ScriptedNode() noexcept(false) {
  if (link) *link = nullptr;
}

void ScriptedNode::open() {
  link = std::make_shared<ScriptedNode*>(this);
  beating = heartbeats().promise().eagerlyEvaluate(nullptr);
  world.settle();
}

Task<void> ScriptedNode::openSession() {
  auto request = dispatcher.openRequest();
  request.setNodeId(id.c_str());
  auto description = request.initDescription();
  description.setHostname(kj::str("host-", id.c_str()));
  description.setCpuNanos(cpuNanos);
  description.setMemoryBytes(memoryBytes);
  description.initRuntimes(1).set(0, "sim");
  auto plugins = description.initPlugins(drivers.size());
  for (uint32_t i = 0; i < drivers.size(); ++i) plugins.set(i, drivers[i].c_str());
  if (!drivers.empty()) description.setAddress(address.c_str());
  if (describes) describes(description);
  auto list = description.initRoutes(routes.size());
  for (uint32_t i = 0; i < routes.size(); ++i) list.set(i, routes[i].c_str());
  auto ports = description.initUnanswered(unanswered.size());
  for (uint32_t i = 0; i < ports.size(); ++i) ports.set(i, unanswered[i].c_str());
  if (addresses > 0) {
    auto pool = description.initNetworks(1)[0];
    pool.setName("bridge");
    pool.setTotal(addresses);
  }
  request.setAgent(kj::heap<ScriptedAgent>(link));
  auto opened = co_await request.send();
  session = opened.getSession();
  // What the last session did not get through.
  for (auto& entry : std::exchange(unheard, {})) report(entry.first, entry.second);
}

void ScriptedNode::close(bool leaves) {
  auto request = current().closeRequest();
  request.setLeaves(leaves);
  request.send().wait(world.waitScope());
  cut();
}

void ScriptedNode::confirm() {
  confirms = true;
  for (auto& one : std::exchange(unconfirmed, {})) one->fulfill();
}

void ScriptedNode::cut() {
  *link = nullptr;
  link = nullptr;
  session = nullptr;
  beating = kj::READY_NOW;
}

// A session until it is over, unless another one of this node ended it; then the next one.
Task<void> ScriptedNode::heartbeats() {
  for (;;) {
    auto opened = co_await attempt(openSession());
    bool open = opened.ok();
    while (open) {
      co_await world.env().timer().afterDelay(1 * kj::SECONDS);
      if (!beats) continue;
      auto request = current().heartbeatRequest();
      auto beat = co_await attempt(request.send());
      open = beat.ok();
    }
    session = nullptr;
    co_await world.env().timer().afterDelay(100 * kj::MILLISECONDS);
  }
}

void ScriptedNode::follow(const std::string& taskId) {
  auto task = tasks[taskId];
  bool ended = task.state >= TaskState::COMPLETE;
  if (ended) return;
  if (task.desired >= TaskState::SHUTDOWN) {
    if (obeysStop) report(taskId, TaskState::SHUTDOWN);
  } else if (task.desired == TaskState::READY) {
    if (task.state < TaskState::READY) report(taskId, TaskState::READY);
  } else if (task.state < TaskState::RUNNING) {
    auto state = onStart ? onStart(taskId, task) : TaskState::RUNNING;
    bool bad = state >= TaskState::COMPLETE;
    if (state != TaskState::NEW) report(taskId, state, bad ? "task: non-zero exit (1)" : "");
  }
}

void ScriptedNode::report(const std::string& taskId, TaskState state, const std::string& error) {
  tasks[taskId].state = state;
  mostRunning = std::max<size_t>(mostRunning, running());
  reports.add(send(taskId, state, error));
}

Task<void> ScriptedNode::send(std::string taskId, TaskState state, std::string error) {
  if (session == nullptr) {
    unheard.emplace_back(taskId, state);
    co_return;
  }
  auto request = current().reportRequest();
  auto entry = request.initStatuses(1)[0];
  entry.setTaskId(taskId.c_str());
  auto status = entry.initStatus();
  status.setState(state);
  status.setAtNs(world.env().nowNs());
  status.setError(error.c_str());
  if (restarted) status.initContainer().setLost(true);
  if (addresses > 0) status.initAddresses(1).set(0, "10.0.0.2");
  auto sent = co_await attempt(request.send());
  if (!sent.ok()) unheard.emplace_back(taskId, state);
}

uint32_t ScriptedNode::running() const {
  return std::count_if(tasks.begin(), tasks.end(),
                       [](auto& entry) { return entry.second.state == TaskState::RUNNING; });
}

schema::Session::Client& ScriptedNode::current() { return KJ_ASSERT_NONNULL(session); }

void ScriptedNode::offer(const std::map<std::string, std::vector<std::string>>& images) {
  auto request = current().offerImagesRequest();
  auto list = request.initImages(images.size());
  uint32_t i = 0;
  for (auto& [digest, names] : images) {
    list[i].setDigest(digest.c_str());
    auto given = list[i++].initNames(names.size());
    for (uint32_t j = 0; j < given.size(); ++j) given.set(j, names[j].c_str());
  }
  request.send().wait(world.waitScope());
}

// ---- the cluster --------------------------------------------------------------------------------

TestCluster::TestCluster(uint32_t maxOps, uint64_t seed, kj::StringPtr dataDir)
    : world(seed),
      store(maxOps),
      host(dataDir, "/nowhere/run", "control.manager"),
      schedulerHost("/nowhere/data", "/nowhere/run", "scheduler.spread") {
  host.addService("store.local", store.client());
  scheduler = loadModule(world.env(), "scheduler.spread");
  auto request = scheduler.configureRequest();
  request.setHost(schedulerHost.client());
  request.send().wait(world.waitScope());
  spreading =
      schedulerHost.start<schema::Scheduler>(scheduler, "scheduler.spread", world.waitScope());
  host.addService("scheduler.spread", spreading);
}
TestCluster::~TestCluster() noexcept(false) {}

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
    if (service.hasPeers()) peers.insert_or_assign(service.getName().cStr(), service.getPeers());
  }
  plugin = kj::mv(client);
}

void TestCluster::stop() {
  nodes.clear();
  KJ_IF_MAYBE (running, plugin) running->stopRequest().send().wait(world.waitScope());
  plugin = nullptr;
  control = nullptr;
  dispatcher = nullptr;
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
