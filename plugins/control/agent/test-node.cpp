#include "test-node.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

#include "orch/fail.h"

namespace orch::control::agent {

using schema::TaskState;

namespace {

constexpr kj::Duration PATIENCE = 10 * kj::MINUTES;

class FakeRuntimeServer final : public schema::Runtime::Server {
 public:
  explicit FakeRuntimeServer(FakeRuntime& model) : model(model) {}
  kj::Promise<void> info(InfoContext context) override {
    return answer([this, context]() mutable {
      context.getResults().setName("fake");
      context.getResults().setUsesImages(model.usesImages);
    });
  }
  kj::Promise<void> create(CreateContext context) override {
    return answer([this, context]() mutable {
      auto id = context.getParams().getRequest().getId();
      model.containers[id.cStr()];
      context.getResults().initContainer().setId(id);
    });
  }
  kj::Promise<void> start(StartContext context) override {
    return answer([this, context]() mutable {
      auto& container = find(context.getParams().getId());
      std::string id = context.getParams().getId().cStr();
      if (container.starts == 0) {
        ++container.starts;
        ++model.everStarted[id];
        container.startedAtNs = model.nowNs();
        model.onStart(id);
      }
      if (container.exited) KJ_FAIL_REQUIRE("it has ended");
      auto started = context.getResults().initContainer();
      started.setId(id.c_str());
      started.setStartedAtNs(container.startedAtNs);
    });
  }
  kj::Promise<void> run(RunContext context) override {
    return answer([this, context]() mutable {
      auto params = context.getParams();
      model.commands.push_back(kj::strArray(params.getCommand(), " ").cStr());
      int code = model.onRun(params.getId().cStr());
      context.getResults().setExitCode(code);
      context.getResults().setTimedOut(code < 0);
      context.getResults().setOutput(code == 0 ? "fine\n"_kj.asBytes() : "one\ntwo\n"_kj.asBytes());
    });
  }
  kj::Promise<void> exec(ExecContext context) override {
    return answer([this, context]() mutable {
      find(context.getParams().getId());
      context.getResults().setRunning(model.onExec(context.getParams()));
    });
  }
  kj::Promise<void> attach(AttachContext context) override {
    return answer([this, context]() mutable {
      schema::Runtime::ExecParams::Reader none;
      find(context.getParams().getId());
      context.getResults().setRunning(model.onExec(none));
      context.getResults().setTakesInput(context.getParams().getInput());
    });
  }
  kj::Promise<void> usage(UsageContext context) override {
    context.allowCancellation();
    return answer([this, context]() mutable {
      auto ids = context.getParams().getIds();
      auto& asked = model.measured.emplace_back();
      for (auto id : ids) asked.emplace_back(id.cStr());
      auto list = context.getResults().initUsages(asked.size());
      for (uint32_t i = 0; i < list.size(); ++i) {
        list[i].setId(ids[i]);
        list[i].setCpuNs(7);
      }
    });
  }
  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return answer([]() {}).then([this, context]() mutable -> kj::Promise<void> {
      return whenEnded(context.getParams().getId()).then([this, context]() mutable {
        context.getResults().initExit().setCode(find(context.getParams().getId()).code);
      });
    });
  }
  kj::Promise<void> stop(StopContext context) override {
    return answer([]() {}).then([this, context]() mutable -> kj::Promise<void> {
      auto id = context.getParams().getId();
      if (model.obeys && !find(id).exited) model.exit(id.cStr(), 143);
      return whenEnded(id).then([this, context]() mutable {
        context.getResults().initExit().setCode(find(context.getParams().getId()).code);
      });
    });
  }
  kj::Promise<void> remove(RemoveContext context) override {
    return answer(
        [this, context]() mutable { model.containers.erase(context.getParams().getId().cStr()); });
  }
  kj::Promise<void> list(ListContext context) override {
    return answer([this, context]() mutable {
      auto list = context.getResults().initContainers(model.containers.size());
      uint32_t i = 0;
      for (auto& [id, container] : model.containers) {
        list[i].setId(id.c_str());
        list[i].setState(container.exited       ? schema::Container::State::EXITED
                         : container.starts > 0 ? schema::Container::State::RUNNING
                                                : schema::Container::State::CREATED);
        ++i;
      }
    });
  }

 private:
  kj::Promise<void> whenEnded(kj::StringPtr id) {
    auto& container = find(id);
    if (container.exited) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    container.waiting.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }
  kj::Promise<void> answer(kj::Function<void()> fill) {
    ++model.calls;
    if (model.dead) return KJ_EXCEPTION(DISCONNECTED, "the runtime's process has gone");
    kj::Promise<void> turn = kj::READY_NOW;
    KJ_IF_MAYBE (hanging, model.hanging) turn = hanging->addBranch();
    return turn.then([fill = kj::mv(fill)]() mutable { fill(); });
  }
  FakeRuntime::Container& find(kj::StringPtr id) {
    auto known = model.containers.find(id.cStr());
    KJ_REQUIRE(known != model.containers.end(), "there is no such container", id);
    return known->second;
  }
  FakeRuntime& model;
};

class FakeNetworkServer final : public schema::NetworkDriver::Server {
 public:
  explicit FakeNetworkServer(FakeNetwork& model) : model(model) {}
  kj::Promise<void> info(InfoContext context) override {
    context.getResults().setTotal(100);
    context.getResults().setSubnet(model.subnet.c_str());
    context.getResults().setUsed(model.attached.size());
    return answer();
  }
  kj::Promise<void> attach(AttachContext context) override {
    auto id = context.getParams().getTaskId();
    if (!model.dead) model.attached.insert(id.cStr());
    context.getResults().initEndpoint().setAddress("10.0.0.2");
    return answer();
  }
  kj::Promise<void> detach(DetachContext context) override {
    model.attached.erase(context.getParams().getTaskId().cStr());
    return answer();
  }
  kj::Promise<void> retain(RetainContext context) override {
    if (model.dead) return answer();
    auto& ids = model.retained.emplace_back();
    for (auto id : context.getParams().getTaskIds()) ids.push_back(id.cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> drain(DrainContext context) override {
    auto params = context.getParams();
    model.drained.push_back(kj::str(params.getTaskId(), " ", params.getLimitMs()).cStr());
    if (!model.busy) return answer();
    auto pair = kj::newPromiseAndFulfiller<void>();
    model.draining.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  kj::Promise<void> answer() {
    if (model.dead) return KJ_EXCEPTION(DISCONNECTED, "the network's process has gone");
    return kj::READY_NOW;
  }
  FakeNetwork& model;
};

class FakeImageStore final : public schema::ImageStore::Server {
 public:
  explicit FakeImageStore(FakeImages& model) : model(model) {}
  kj::Promise<void> retainHolders(RetainHoldersContext) override { return kj::READY_NOW; }
  kj::Promise<void> ensure(EnsureContext context) override {
    auto params = context.getParams();
    model.ensured.push_back(
        kj::str(params.getReference(), " ", params.getLogin().getPassword()).cStr());
    if (model.slow) return kj::NEVER_DONE;
    bool known =
        model.password.empty() || params.getLogin().getPassword() == model.password.c_str();
    if (!known) fail(kj::str("unauthorized"));
    model.configure(context.getResults().initImage().initConfig());
    return kj::READY_NOW;
  }
  kj::Promise<void> limit(LimitContext context) override {
    if (model.dead) return KJ_EXCEPTION(DISCONNECTED, "the image plugin's process has gone");
    auto params = context.getParams();
    model.limits.push_back(kj::str(params.getBytes(), " ", kj::strArray(params.getNeeded(), ","),
                                   " ", params.getUnusedMs())
                               .cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> list(ListContext context) override {
    if (model.dead) return KJ_EXCEPTION(DISCONNECTED, "the image plugin's process has gone");
    auto list = context.getResults().initImages(model.images.size());
    uint32_t i = 0;
    for (auto& [digest, image] : model.images) {
      list[i].setDigest(digest.c_str());
      list[i].setKeptBytes(image.keptBytes);
      auto names = list[i].initReferences(image.names.size());
      for (uint32_t j = 0; j < names.size(); ++j) names.set(j, image.names[j].c_str());
      auto pulled = list[i++].initPulled(image.pulled.size());
      for (uint32_t j = 0; j < pulled.size(); ++j) pulled.set(j, image.pulled[j].c_str());
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> readBlob(ReadBlobContext context) override {
    auto params = context.getParams();
    auto said = kj::str(params.getImage(), " ", params.getBlob(), " ", params.getOffset());
    context.getResults().setData(said.asBytes());
    context.getResults().setTotalBytes(params.getMaxBytes());
    return kj::READY_NOW;
  }

 private:
  FakeImages& model;
};

class FakeSession final : public schema::Session::Server {
 public:
  explicit FakeSession(FakeManager& model) : model(model), generation(model.generation) {}
  kj::Promise<void> report(ReportContext context) override {
    check();
    auto statuses = context.getParams().getStatuses();
    model.reportSizes.push_back(statuses.size());
    for (auto report : statuses) {
      model.tasks[report.getTaskId().cStr()] = {
          report.getStatus().getState(),
          report.getStatus().getError().cStr(),
          report.getStatus().getContainer().getLost(),
          report.getStatus().getMessage().cStr(),
          report.getStatus().getContainer().getHealth(),
          report.getStatus().getContainer().getHealthOutput().cStr()};
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> heartbeat(HeartbeatContext context) override {
    check();
    model.lags.push_back(context.getParams().getLoopLagMs());
    if (model.silent) return kj::NEVER_DONE;
    context.getResults().setNextMs(model.nextMs);
    return kj::READY_NOW;
  }
  kj::Promise<void> describe(DescribeContext context) override {
    check();
    take(model, context.getParams().getDescription());
    return kj::READY_NOW;
  }
  kj::Promise<void> offerImages(OfferImagesContext context) override {
    check();
    ++model.offers;
    model.offered.clear();
    for (auto image : context.getParams().getImages()) {
      auto& names = model.offered[image.getDigest().cStr()];
      for (auto name : image.getNames()) names.push_back(name.cStr());
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> imageLimit(ImageLimitContext context) override {
    check();
    context.getResults().setBytes(model.imageLimit);
    context.getResults().initNeeded(1).set(0, "app:1");
    return kj::READY_NOW;
  }
  static void take(FakeManager& model, schema::NodeDescription::Reader description) {
    model.routes.clear();
    for (auto route : description.getRoutes()) model.routes.push_back(route.cStr());
    model.balancer = description.getBalancer().cStr();
    model.encryptionKey = description.getEncryptionKey().cStr();
    model.encryptionProblem = description.getEncryptionProblem().cStr();
    model.networks.clear();
    for (auto pool : description.getNetworks()) {
      model.networks[pool.getName().cStr()] = {pool.getTotal(), pool.getUsed()};
    }
  }

 private:
  void check() {
    if (generation == model.generation) return;
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "this session is over"));
  }
  FakeManager& model;
  uint64_t generation;
};

class FakeDispatcher final : public schema::Dispatcher::Server {
 public:
  explicit FakeDispatcher(FakeManager& model) : model(model) {}
  kj::Promise<void> open(OpenContext context) override {
    if (model.away) return KJ_EXCEPTION(DISCONNECTED, "no manager is there");
    ++model.sessions;
    ++model.generation;
    model.agent = context.getParams().getAgent();
    FakeSession::take(model, context.getParams().getDescription());
    model.restarts.clear();
    for (auto restart : context.getParams().getRestarts()) {
      auto ended = restart.getEnded();
      model.restarts.push_back({ended.getTaskId().cStr(), ended.getStatus().getState(),
                                restart.getNext().getTaskId().cStr(), restart.getRestarts()});
    }
    context.getResults().setSession(kj::heap<FakeSession>(model));
    return std::exchange(model.opening, kj::Promise<void>(kj::READY_NOW));
  }

 private:
  FakeManager& model;
};

}  // namespace

void FakeRuntime::exit(const std::string& id, int code) {
  auto& container = containers.at(id);
  container.exited = true;
  container.code = code;
  for (auto& waiter : container.waiting) waiter->fulfill();
  container.waiting.clear();
}

void FakeRuntime::hang() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  hanging = pair.promise.fork();
  hangs = kj::mv(pair.fulfiller);
}

void FakeRuntime::resume() {
  hanging = nullptr;
  hangs->fulfill();
}

void FakeRuntime::die() {
  dead = true;
  for (auto& [id, container] : containers) {
    for (auto& waiter : container.waiting) {
      waiter->reject(KJ_EXCEPTION(DISCONNECTED, "the runtime's process has gone"));
    }
    container.waiting.clear();
  }
}

uint32_t FakeRuntime::running() const {
  uint32_t count = 0;
  for (auto& [id, container] : containers) count += container.starts > 0 && !container.exited;
  return count;
}

schema::Runtime::Client FakeRuntime::client() { return kj::heap<FakeRuntimeServer>(*this); }
schema::NetworkDriver::Client FakeNetwork::client() { return kj::heap<FakeNetworkServer>(*this); }
schema::ImageStore::Client FakeImages::client() { return kj::heap<FakeImageStore>(*this); }
schema::Dispatcher::Client FakeManager::client() { return kj::heap<FakeDispatcher>(*this); }

struct TestAgent::Life {
  explicit Life(TestAgent& test)
      : host(test.host.client(), facts()),
        settings(message.initRoot<Config>()),
        agent(test.world.env(), host, settings) {}
  static NodeFacts facts() {
    NodeFacts facts;
    facts.id = kj::str("node1");
    facts.name = kj::str("node-1");
    facts.version = kj::str("9.9");
    facts.instance = kj::str("control.agent");
    return facts;
  }
  capnp::MallocMessageBuilder message;
  Host host;
  Config::Reader settings;
  NodeAgent agent;
};

TestAgent::TestAgent(uint32_t maxOps, uint64_t seed)
    : world(seed), store(maxOps), host("/data", "/run", "control.agent") {
  runtime.nowNs = [this] { return world.env().nowNs(); };
  host.addService("store.local#agent", store.client());
  host.addService("runtime.sim", runtime.client());
  host.addService("network.bridge", network.client());
  host.addService("image.oci", images.client());
  host.addService("dispatcher", manager.client());
}

TestAgent::~TestAgent() noexcept(false) {}

void TestAgent::start() {
  crash();
  life = std::make_unique<Life>(*this);
  life->agent.start().wait(world.waitScope());
  world.settle();
}

schema::Agent::Client TestAgent::forPlugins() {
  return KJ_REQUIRE_NONNULL(life.get(), "the agent does not run").agent.client();
}

schema::TaskFeed::Client TestAgent::feed() {
  return KJ_REQUIRE_NONNULL(life.get(), "the agent does not run").agent.feed();
}

void TestAgent::crash() {
  life = nullptr;
  ++manager.generation;
  world.settle();
}

Task<Outcome<void>> TestAgent::assigning(const Order& order) {
  auto request = KJ_REQUIRE_NONNULL(manager.agent, "no session was opened").assignRequest();
  request.setEpoch(order.epoch);
  request.setComplete(order.complete);
  auto assignments = request.initAssignments(order.tasks.size());
  for (uint32_t i = 0; i < assignments.size(); ++i) {
    auto& wanted = order.tasks[i];
    if (!wanted.password.empty()) {
      auto login = assignments[i].initLogin();
      login.setRegistry("docker.io");
      login.setUser("ann");
      login.setPassword(wanted.password.c_str());
    }
    auto task = assignments[i].initTask();
    auto meta = task.initMeta();
    meta.setId(wanted.id.c_str());
    meta.setVersion(1);
    task.setServiceName("web");
    task.setSlot(i + 1);
    task.setDesired(wanted.desired);
    task.initStatus().setState(wanted.known);
    auto spec = task.initSpec();
    spec.initContainer().setImage("app:1");
    auto networks = spec.initNetworks(wanted.networks.size());
    for (uint32_t j = 0; j < networks.size(); ++j) networks[j].setName(wanted.networks[j].c_str());
    wanted.more(task);
  }
  auto gone = request.initGone(order.gone.size());
  for (uint32_t i = 0; i < gone.size(); ++i) gone[i].setId(order.gone[i].c_str());
  kj::Promise<void> sent = request.send().ignoreResult();
  return attempt(world.env().timer().timeoutAfter(PATIENCE, kj::mv(sent)));
}

std::string TestAgent::assign(const Order& order) {
  auto outcome = assigning(order).wait(world.waitScope());
  world.settle();
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

std::map<std::string, TestAgent::Stored> TestAgent::stored() {
  struct Sink final : public schema::ObjectSink::Server {
    explicit Sink(std::map<std::string, Stored>& found) : found(found) {}
    kj::Promise<void> objects(ObjectsContext context) override {
      for (auto object : context.getParams().getObjects()) {
        if (object.getKind() != "task") continue;
        TaskRecord record(object.getValue());
        found[object.getKey().cStr()] = {record.task().getDesired(), record.state()};
      }
      return kj::READY_NOW;
    }
    std::map<std::string, Stored>& found;
  };
  std::map<std::string, Stored> found;
  auto request = store.client().loadRequest();
  request.setSink(kj::heap<Sink>(found));
  request.send().wait(world.waitScope());
  return found;
}

TaskState TestAgent::reported(const std::string& id) {
  auto known = manager.tasks.find(id);
  return known == manager.tasks.end() ? TaskState::NEW : known->second.state;
}

}  // namespace orch::control::agent
