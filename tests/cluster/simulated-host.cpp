#include "simulated-host.h"

#include <capnp/rpc-twoparty.h>
#include <capnp/schema.h>
#include <capnp/serialize.h>
#include <dlfcn.h>
#include <kj/debug.h>

#include "config.capnp.h"
#include "kernel/rpc/peer-gateway.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "simulated-life.h"

namespace orch::testing {

namespace {

constexpr uint32_t CARDS = 8;        // of each host
constexpr uint32_t SOCKET_PORT = 1;  // stands for orchd's Unix socket
// As downAfterMs of the manager whose planted bug it is.
constexpr uint32_t NO_GRACE_MS = 200;

using Create = void (*)(Env&, schema::Plugin::Client*);

// A module of the build tree. Loaded once, and never unmapped.
Create moduleNamed(kj::StringPtr name) {
  void* opened = dlopen(kj::str(SHIPPED_PLUGINS "/", name, ".so").cStr(), RTLD_NOW | RTLD_LOCAL);
  KJ_REQUIRE(opened != nullptr, dlerror());
  auto create = reinterpret_cast<Create>(dlsym(opened, "orch_plugin_create"));
  KJ_REQUIRE(create != nullptr, dlerror());
  return create;
}

class Subscription final : public capnp::Capability::Server {
 public:
  DispatchCallResult dispatchCall(
      uint64_t, uint16_t, capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    KJ_UNIMPLEMENTED("a subscription has no methods");
  }
};

}  // namespace

// The kernel as a plugin sees it.
class SimulatedHost::HostServer final : public schema::Host::Server {
 public:
  HostServer(Life& life, kj::StringPtr instance) : life(life), instance(kj::str(instance)) {}

  kj::Promise<void> node(NodeContext context) override {
    auto results = context.getResults();
    results.setId(life.host.name.c_str());
    results.setName(life.host.name.c_str());
    results.setDataDir(life.host.dataDir().c_str());
    results.setRunDir(kj::str("/sim/", life.host.name.c_str(), "/run"));
    results.setVersion(ORCH_VERSION);
    results.setInstance(instance);
    auto cards = results.initGeneric(1)[0];
    cards.setKind("card");
    cards.setAmount(CARDS);
    auto names = cards.initNames(CARDS);
    for (uint32_t i = 0; i < CARDS; ++i) names.set(i, kj::str("CARD-", i));
    return kj::READY_NOW;
  }
  kj::Promise<void> publish(PublishContext context) override {
    auto params = context.getParams();
    auto line = kj::str("event ", params.getTopic(), " ", params.getSubject());
    for (auto entry : params.getAttributes()) {
      line = kj::str(line, " ", entry.getKey(), "=", entry.getValue());
    }
    if (!life.over) life.host.shared.log.add(life.host.name.c_str(), line);
    return kj::READY_NOW;
  }
  kj::Promise<void> subscribe(SubscribeContext context) override {
    context.getResults().setSubscription(kj::heap<Subscription>());
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override;
  kj::Promise<void> services(ServicesContext context) override {
    auto names = life.registry.names(context.getParams().getPrefix().cStr());
    auto list = context.getResults().initNames(names.size());
    for (uint32_t i = 0; i < names.size(); ++i) list.set(i, names[i].c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> log(LogContext context) override {
    auto params = context.getParams();
    if (life.over || params.getLevel() < schema::LogLevel::INFO) return kj::READY_NOW;
    auto line = kj::str(params.getLevel(), " ", instance, " ", params.getMessage());
    for (auto field : params.getFields()) {
      line = kj::str(line, " ", field.getKey(), "=", field.getValue());
    }
    life.host.shared.log.add(life.host.name.c_str(), line);
    return kj::READY_NOW;
  }

 private:
  Life& life;
  kj::String instance;
};

// The agent as the manager sees it, when it is given a bug: what is lost is acknowledged.
class SimulatedHost::FaultyAgent final : public capnp::Capability::Server {
 public:
  FaultyAgent(Life& life, schema::Agent::Client agent) : life(life), agent(kj::mv(agent)) {}
  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override {
    static const auto ASSIGN =
        capnp::Schema::from<schema::Agent>().getMethodByName("assign").getOrdinal();
    auto params = context.getParams();
    if (methodId == ASSIGN) {
      bool complete = params.getAs<schema::Agent::AssignParams>().getComplete();
      if (!complete && life.env.random() % 20 == 0) {
        context.getResults().initAs<schema::Agent::AssignResults>();
        return {kj::READY_NOW, false};
      }
    }
    auto request = agent.typelessRequest(interfaceId, methodId, params.targetSize());
    request.set(params);
    return {context.tailCall(kj::mv(request)), false};
  }

 private:
  Life& life;
  capnp::Capability::Client agent;
};

class SimulatedHost::FaultyDispatcher final : public schema::Dispatcher::Server {
 public:
  FaultyDispatcher(Life& life, schema::Dispatcher::Client dispatcher)
      : life(life), dispatcher(kj::mv(dispatcher)) {}
  kj::Promise<void> open(OpenContext context) override {
    auto params = context.getParams();
    auto request = dispatcher.openRequest();
    request.setNodeId(params.getNodeId());
    request.setDescription(params.getDescription());
    capnp::Capability::Client faulty = kj::heap<FaultyAgent>(life, params.getAgent());
    request.setAgent(faulty.castAs<schema::Agent>());
    return context.tailCall(kj::mv(request));
  }

 private:
  Life& life;
  schema::Dispatcher::Client dispatcher;
};

kj::Promise<void> SimulatedHost::HostServer::service(ServiceContext context) {
  std::string name = context.getParams().getName().cStr();
  bool alone = life.host.shared.managers == 1 && name == "trust";
  bool none = alone || !life.registry.mayCome(name);
  if (none) fail(kj::str("there is no service '", name.c_str(), "' here"));
  return life.registry.find(name).then([this, context, name](auto&& found) mutable {
    bool lossy = life.host.shared.bug == Bug::LOST_DELTA && name == "dispatcher";
    if (lossy) {
      context.getResults().setCapability(schema::Dispatcher::Client(
          kj::heap<FaultyDispatcher>(life, found.template castAs<schema::Dispatcher>())));
    } else {
      context.getResults().setCapability(kj::mv(found));
    }
  });
}

// The runtime as one run of orchd sees it: calls take a moment, and whoever is gone is not
// answered.
class SimulatedHost::RuntimeProxy final : public capnp::Capability::Server {
 public:
  RuntimeProxy(Life& life, schema::Runtime::Client runtime)
      : life(life), runtime(kj::mv(runtime)), session(life.host.session) {}
  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override {
    context.allowCancellation();
    return {forward(interfaceId, methodId, context), false};
  }

 private:
  Task<void> forward(uint64_t interfaceId, uint16_t methodId,
                     capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) {
    static const auto START =
        capnp::Schema::from<schema::Runtime>().getMethodByName("start").getOrdinal();
    co_await life.env.timer().afterDelay(life.env.random() % 3000 * kj::MICROSECONDS);
    auto params = context.getParams();
    auto request = runtime.typelessRequest(interfaceId, methodId, params.targetSize());
    request.set(params);
    auto answer = co_await request.send();
    bool started = methodId == START && session == life.host.session;
    if (started) {
      auto container = answer.getAs<schema::Runtime::StartResults>().getContainer();
      life.host.noteStart(container.getId().cStr(), container.getStartedAtNs());
    }
    if (life.over) co_await kj::Promise<void>(kj::NEVER_DONE);
    context.getResults().set(answer);
  }

  Life& life;
  capnp::Capability::Client runtime;
  uint64_t session;
};

// Stands for the Unix socket: whoever can open it may have everything.
class SimulatedHost::Socket final : public schema::Gateway::Server {
 public:
  explicit Socket(Life& life) : life(life) {}
  kj::Promise<void> service(ServiceContext context) override {
    std::string name = context.getParams().getName().cStr();
    if (!life.registry.runs(name)) fail(kj::str("no service '", name.c_str(), "' runs yet"));
    return life.registry.find(name).then(
        [context](auto&& found) mutable { context.getResults().setCapability(kj::mv(found)); });
  }

 private:
  Life& life;
};

SimulatedHost::SimulatedHost(SimulatedWorld given, std::string hostName, uint64_t seed)
    : name(std::move(hostName)),
      machine(given.world.newMachine()),
      shared(given),
      salt(seed),
      tasks(*this) {
  shared.network.addHost(name.c_str(), machine);
  member.managers.emplace_back(kj::str(MANAGER_HOST, ":", NODE_PORT).cStr());
  agentDisk.observe([this](auto batch) { noteStored(batch); });
}
SimulatedHost::~SimulatedHost() noexcept(false) {}

// What a life that is over has left in the loop would set timers when that ends, too late for any.
void SimulatedHost::windUp() {
  for (auto& each : lives) {
    for (auto& plugin : each->plugins) {
      auto stopped = plugin.stopRequest().send().ignoreResult();
      each->tasks.add(stopped.catch_([](kj::Exception&&) {}));
    }
  }
}

void SimulatedHost::taskFailed(kj::Exception&& exception) {
  shared.log.add(name.c_str(), kj::str("task ended: ", exception.getDescription()));
}

void SimulatedHost::noteStored(kj::ArrayPtr<const MemoryStore::Written> batch) {
  for (auto& entry : batch) {
    KJ_IF_MAYBE (value, entry.value) {
      auto words = kj::heapArray<capnp::word>(value->size() / sizeof(capnp::word));
      memcpy(words.begin(), value->begin(), words.asBytes().size());
      capnp::FlatArrayMessageReader message(words);
      if (entry.kind == "leader") {
        followed = message.getRoot<schema::FollowedLeader>().getEpoch();
      } else {
        shared.containers.stored(name, entry.key.cStr(), message.getRoot<schema::Task>());
      }
    } else {
      shared.containers.stored(name, entry.key.cStr(), nullptr);
    }
  }
}

int64_t SimulatedHost::nowNs() {
  return hardware == nullptr ? shared.world.env().nowNs() : hardware->nowNs();
}

kj::Duration SimulatedHost::syncTime() {
  constexpr auto LEAST = 100 * kj::MICROSECONDS;
  return LEAST + hardware->random() % (syncMost / kj::NANOSECONDS) * kj::NANOSECONDS;
}

void SimulatedHost::powerOn() {
  if (powered()) return;
  shared.log.add(name.c_str(), "power on");
  shared.network.up(name.c_str());
  ++session;
  hardware = &machine.begin(++salt);
  for (auto disk : {&clusterDisk, &agentDisk}) {
    disk->setDisk(hardware->timer(), [this] { return syncTime(); });
  }
  tasks.add(boot(*hardware));
}

// The runtime comes first; orchd starts by itself.
Task<void> SimulatedHost::boot(Env& env) {
  static const Create RUNTIME = moduleNamed("runtime.sim");
  auto booted = session;
  schema::Plugin::Client plugin = nullptr;
  RUNTIME(env, &plugin);
  struct Nobody final : public schema::Host::Server {
    kj::Promise<void> node(NodeContext context) override {
      context.getResults().setInstance("runtime.sim");
      return kj::READY_NOW;
    }
  };
  auto configure = plugin.configureRequest();
  configure.setHost(kj::heap<Nobody>());
  co_await configure.send().ignoreResult();
  co_await plugin.recoverRequest().send().ignoreResult();
  auto started = co_await plugin.startRequest().send();
  if (booted != session || !powered()) co_return;
  oldRuntimes.push_back(schema::Plugin::Client(plugin));
  runtime = started.getServices()[0].getCapability().castAs<schema::Runtime>();
  startOrchd();
}

void SimulatedHost::powerOff() {
  if (!powered()) return;
  shared.log.add(name.c_str(), "power off");
  if (machine.frozen()) machine.thaw();
  endOrchd(true);
  shared.network.endLife(name.c_str(), true);
  machine.end(*hardware);
  hardware = nullptr;
  runtime = nullptr;
  ++session;
  auto lost = std::exchange(runningSince, {});
  for (auto& entry : lost) shared.containers.ended(name, entry.first);
}

void SimulatedHost::crashOrchd() {
  if (!running()) return;
  shared.log.add(name.c_str(), "orchd crashes");
  endOrchd(false);
}

void SimulatedHost::endOrchd(bool silently) {
  if (!running()) return;
  if (!silently) shared.network.endLife(name.c_str(), false);
  life->over = true;
  machine.end(life->env);
  life = nullptr;
  clusterDisk.crash();
  agentDisk.crash();
}

void SimulatedHost::freeze() {
  if (!powered() || machine.frozen()) return;
  shared.log.add(name.c_str(), "frozen");
  machine.freeze();
}

void SimulatedHost::thaw() {
  if (!machine.frozen()) return;
  shared.log.add(name.c_str(), "thawed");
  machine.thaw();
  shared.network.awake(name.c_str());
}

kj::Maybe<capnp::Capability::Client> SimulatedHost::service(const std::string& service) {
  if (life == nullptr || !life->registry.runs(service)) return nullptr;
  return capnp::Capability::Client(life->registry.find(service));
}

// ---- orchd --------------------------------------------------------------------------------------

void SimulatedHost::startOrchd() {
  if (running() || runtime == nullptr) return;
  shared.log.add(name.c_str(), "orchd starts");
  auto& env = machine.begin(++salt, shared.network.networkOf(name.c_str()));
  lives.push_back(std::make_unique<Life>(*this, env));
  life = lives.back().get();
  auto& registry = life->registry;
  registry.offer("store.local#agent", agentDisk.client());
  KJ_IF_MAYBE (there, runtime) {
    registry.offer("runtime.sim", capnp::Capability::Client(kj::heap<RuntimeProxy>(*life, *there)));
  }
  life->tasks.add(run(*life));
}

Task<void> SimulatedHost::run(Life& now) {
  bool several = shared.managers > 1;
  if (several) {
    now.registry.offer("trust", schema::Trust::Client(kj::heap<TrustServer>(now)));
  }
  if (manages()) {
    now.registry.offer("store.local", several ? capnp::Capability::Client(kj::heap<StateProxy>(now))
                                              : capnp::Capability::Client(clusterDisk.client()));
    co_await startPlugin(now, "scheduler.spread");
    co_await startPlugin(now, "filter.constraint");
    now.tasks.add(listen(now, NODE_PORT));
    now.tasks.add(listen(now, SOCKET_PORT));
    now.tasks.add(keepStarting(now, "control.manager"));
  } else {
    trust::ManagerSearch::Connect connect = [&now](kj::String address) {
      return trust::reach(now.env, kj::mv(address));
    };
    auto uplink = kj::heap<trust::Uplink>(now.env, now.logger, now.registry, member.managers,
                                          kj::mv(connect));
    now.tasks.add(uplink->run());
    now.uplink = kj::mv(uplink);
  }
  now.tasks.add(keepStarting(now, "control.agent"));
}

// As the kernel's supervisor does.
Task<void> SimulatedHost::keepStarting(Life& now, kj::StringPtr instance) {
  for (;;) {
    auto started = co_await attempt(startPlugin(now, instance));
    if (started.ok()) co_return;
    shared.log.add(name.c_str(), kj::str("plugin ", instance, " failed: ", started.message()));
    co_await now.env.timer().afterDelay(500 * kj::MILLISECONDS);
  }
}

Task<void> SimulatedHost::startPlugin(Life& now, kj::StringPtr instance) {
  static const Create AGENT = moduleNamed("control.agent");
  static const Create MANAGER = moduleNamed("control.manager");
  static const Create SPREAD = moduleNamed("scheduler.spread");
  static const Create CONSTRAINT = moduleNamed("filter.constraint");
  auto create = instance == "control.agent"       ? AGENT
                : instance == "control.manager"   ? MANAGER
                : instance == "filter.constraint" ? CONSTRAINT
                                                  : SPREAD;
  schema::Plugin::Client plugin = nullptr;
  create(now.env, &plugin);
  auto configure = plugin.configureRequest();
  configure.setHost(kj::heap<HostServer>(now, instance));
  if (instance == "control.manager") {
    auto settings = configure.getSettings().initAs<control::manager::Config>();
    settings.setImage("");
    if (shared.bug == Bug::EARLY_REPLACE) settings.setStartGraceMs(NO_GRACE_MS);
  }
  co_await configure.send().ignoreResult();
  now.plugins.push_back(schema::Plugin::Client(plugin));
  co_await plugin.recoverRequest().send().ignoreResult();
  auto started = co_await plugin.startRequest().send();
  for (auto offered : started.getServices()) {
    std::string service = offered.getName().cStr();
    if (offered.hasCapability()) now.registry.offer(service, offered.getCapability());
    if (offered.hasPeers()) now.registry.offerToPeers(service, offered.getPeers());
  }
}

Task<void> SimulatedHost::listen(Life& now, uint32_t port) {
  auto address = co_await now.env.network().parseAddress(kj::str("*:", port));
  if (now.over) co_return;  // a crash came while it started
  auto receiver = address->listen();
  for (;;) {
    auto accepted = co_await receiver->acceptAuthenticated();
    auto identity = accepted.peerIdentity.downcast<kj::NetworkPeerIdentity>();
    std::string peer = identity->getAddress().toString().cStr();
    schema::Gateway::Client gateway = nullptr;
    if (port == SOCKET_PORT) {
      gateway = kj::heap<Socket>(now);
    } else {
      capnp::MallocMessageBuilder message;
      auto who = message.initRoot<schema::Peer>();
      who.setRole(shared.manages(peer) ? schema::Role::MANAGER : schema::Role::WORKER);
      who.setId(peer.c_str());
      who.setAddress(peer.c_str());
      gateway = rpc::newPeerGateway(now.registry, now.refusals, name, who.asReader());
    }
    auto& connections = port == SOCKET_PORT ? now.tasks : *now.peers;
    connections.add(serve(kj::mv(accepted.stream), kj::mv(gateway)));
  }
}

Task<void> SimulatedHost::serve(kj::Own<kj::AsyncIoStream> stream,
                                schema::Gateway::Client gateway) {
  capnp::TwoPartyClient connection(*stream, kj::mv(gateway), capnp::rpc::twoparty::Side::SERVER);
  co_await connection.onDisconnect();
}

// ---- containers ---------------------------------------------------------------------------------

// Asked again, the runtime answers as the first time: the time of the start tells them apart.
void SimulatedHost::noteStart(const std::string& taskId, int64_t startedAtNs) {
  auto known = lastRun.find(taskId);
  if (known != lastRun.end() && known->second == startedAtNs) return;
  lastRun[taskId] = runningSince[taskId] = startedAtNs;
  shared.containers.started(name, taskId);
  KJ_IF_MAYBE (there, runtime) tasks.add(watch(*there, taskId, session));
}

Task<void> SimulatedHost::watch(schema::Runtime::Client of, std::string taskId, uint64_t during) {
  auto request = of.waitRequest();
  request.setId(taskId.c_str());
  auto outcome = co_await attempt(request.send().ignoreResult());
  if (during != session) co_return;
  runningSince.erase(taskId);
  shared.containers.ended(name, taskId);
}

}  // namespace orch::testing
