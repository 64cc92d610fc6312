#include "agent.h"

#include <kj/debug.h>

#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::control::agent {

namespace {

// Before what could not be removed is tried again, doubled up to MAX_PAUSE_MS.
constexpr uint64_t MIN_REMOVAL_PAUSE_MS = 500;
constexpr kj::Duration GOODBYE_LIMIT = 500 * kj::MILLISECONDS;

kj::String refusalOf(schema::Assignment::Reader assignment, kj::StringPtr version) {
  static constexpr kj::StringPtr KINDS[] = {"task"_kj,    "network"_kj,     "secret"_kj,
                                            "config"_kj,  "volume"_kj,      "peer"_kj,
                                            "service"_kj, "node's ports"_kj};
  auto number = static_cast<size_t>(assignment.which());
  auto kind = number < kj::size(KINDS) ? kj::str("a ", KINDS[number])
                                       : kj::str("an object of a kind (", number, ")");
  return kj::str("this node's agent (version ", version, ") cannot take ", kind,
                 " yet; upgrade orchd on the node");
}

bool ofNetworks(schema::Assignment::Which kind) {
  return kind == schema::Assignment::NETWORK || kind == schema::Assignment::PEER ||
         kind == schema::Assignment::SERVICE;
}
bool ofNetworks(schema::AssignedKind kind) {
  return kind == schema::AssignedKind::NETWORK || kind == schema::AssignedKind::PEER ||
         kind == schema::AssignedKind::SERVICE;
}

}  // namespace

NodeAgent& NodeAgent::Link::get() {
  KJ_IF_MAYBE (there, agent) return *there;
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the node's agent has stopped"));
}

class NodeAgent::Server final : public schema::Agent::Server {
 public:
  // `dropped`: of a manager's.
  explicit Server(kj::Own<Link> link, kj::Own<kj::PromiseFulfiller<void>> dropped = {})
      : link(kj::mv(link)), dropped(kj::mv(dropped)) {}
  ~Server() noexcept(false) {
    if (isManagers()) dropped->fulfill();
  }
  kj::Promise<void> assign(AssignContext context) override {
    auto& agent = link->get();
    return agent.calls.wrap(agent.assign(context).promise());
  }
  kj::Promise<void> logs(LogsContext context) override {
    context.allowCancellation();
    auto& agent = link->get();
    return agent.calls.wrap(agent.logs(context).promise());
  }
  kj::Promise<void> exec(ExecContext context) override {
    context.allowCancellation();
    auto& agent = link->get();
    return agent.calls.wrap(agent.exec(context, isManagers()).promise());
  }
  kj::Promise<void> attach(AttachContext context) override {
    context.allowCancellation();
    auto& agent = link->get();
    return agent.calls.wrap(agent.attach(context, isManagers()).promise());
  }
  kj::Promise<void> processes(ProcessesContext context) override {
    context.allowCancellation();
    auto& agent = link->get();
    return agent.calls.wrap(agent.processes(context).promise());
  }
  kj::Promise<void> usage(UsageContext context) override {
    context.allowCancellation();
    auto& agent = link->get();
    return agent.calls.wrap(agent.usage(context).promise());
  }
  kj::Promise<void> tasks(TasksContext context) override {
    link->get().listTasks(context);
    return kj::READY_NOW;
  }
  kj::Promise<void> volumes(VolumesContext context) override {
    auto& agent = link->get();
    return agent.calls.wrap(agent.volumes(context).promise());
  }
  kj::Promise<void> removeVolume(RemoveVolumeContext context) override {
    auto& agent = link->get();
    return agent.calls.wrap(agent.removeVolume(context).promise());
  }
  kj::Promise<void> pruneVolumes(PruneVolumesContext context) override {
    auto& agent = link->get();
    return agent.calls.wrap(agent.pruneVolumes(context).promise());
  }
  kj::Promise<void> readBlob(ReadBlobContext context) override {
    auto& agent = link->get();
    return agent.calls.wrap(agent.readBlob(context).promise());
  }
  kj::Promise<void> checkNetworks(CheckNetworksContext context) override {
    auto& agent = link->get();
    return agent.calls.wrap(agent.checkNetworks(context).promise());
  }
  kj::Promise<void> managers(ManagersContext context) override {
    auto request = link->get().host.service<schema::Trust>("trust").knowRequest();
    request.setManagers(context.getParams().getAddresses());
    return request.send().ignoreResult();
  }
  // That it answers is the answer.
  kj::Promise<void> ping(PingContext) override { return kj::READY_NOW; }
  kj::Promise<void> settled(SettledContext) override {
    auto& agent = link->get();
    auto mesh = agent.services.mesh.settled();
    auto all = agent.services.networks.settled().then(
        [mesh = kj::mv(mesh)]() mutable { return kj::mv(mesh); });
    return agent.calls.wrap(kj::mv(all));
  }

 private:
  bool isManagers() const { return dropped.get() != nullptr; }

  kj::Own<Link> link;
  kj::Own<kj::PromiseFulfiller<void>> dropped;
};

// For the image plugin, which asks for an image that the node lacks.
class NodeAgent::Finder final : public schema::ImageFinder::Server {
 public:
  explicit Finder(kj::Own<Link> link) : link(kj::mv(link)) {}
  kj::Promise<void> find(FindContext context) override {
    auto& agent = link->get();
    return agent.calls.wrap(agent.findImage(context).promise());
  }

 private:
  kj::Own<Link> link;
};

NodeAgent::NodeAgent(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      settings(settings),
      store(env, host.log(), host.service<schema::Store>(settings.getStore())),
      plan(env, store),
      services(env, host, settings, *this, *this),
      beats(env),
      tasks(*this) {
  services.networks.keepIn(plan);
  services.otherNodes = kj::heap<Finder>(kj::addRef(*link));
  services.mesh.observeUntaken([this] { pluginsChanged.ring(); });
}

NodeAgent::~NodeAgent() noexcept(false) { link->agent = nullptr; }

schema::Agent::Client NodeAgent::client() { return kj::heap<Server>(kj::addRef(*link)); }
schema::Agent::Client NodeAgent::clientForManager(kj::Own<kj::PromiseFulfiller<void>> dropped) {
  return kj::heap<Server>(kj::addRef(*link), kj::mv(dropped));
}

void NodeAgent::listTasks(TasksContext context) {
  auto tasks = known();
  auto list = context.getResults().initTasks(tasks.size());
  uint32_t i = 0;
  for (auto& [id, task] : tasks) list.setWithCaveats(i++, task);
}

// ---- tasks --------------------------------------------------------------------------------------

Task<void> NodeAgent::start() {
  co_await askTrust(nullptr);
  auto loaded = co_await store.load();
  bool before = loaded.cluster != cluster && isTrusted(loaded.cluster);
  if (loaded.cluster == cluster || before) epoch = loaded.leaderEpoch;
  if (before) {
    cluster = kj::mv(loaded.cluster);
    co_await askTrust(nullptr);  // notes the one that has come since
  }
  plan.adopt(kj::mv(loaded.plan));
  for (auto& record : loaded.records) {
    std::string id = record->id().cStr();
    controllers[id] = newController(kj::mv(record));
  }
  // From before the node first says what runs on it: a plugin may start just then.
  co_await listen();
  tasks.add(clearAll());
  for (auto& entry : controllers) entry.second->begin();
  beAlone();
  sessionLoop =
      keepSession().promise().eagerlyEvaluate([this](kj::Exception&& e) { taskFailed(kj::mv(e)); });
}

bool NodeAgent::isTrusted(const std::string& digest) const {
  auto all = trust::certificatesIn(authorities);
  return std::any_of(all.begin(), all.end(),
                     [&](auto& one) { return trust::digestOf(one) == digest; });
}

std::unique_ptr<TaskController> NodeAgent::newController(kj::Own<TaskRecord> record) {
  TaskObserver& observer = *this;
  return std::make_unique<TaskController>(services, store, observer, kj::mv(record));
}

// Every plugin that runs, whether a task needs it now or not. Those that come later are cleared by
// the first task that needs them, or when they are described.
Task<void> NodeAgent::clearAll() {
  auto running = co_await services.running("");
  for (auto& name : running) {
    bool keeps =
        name.startsWith("network.") || name.startsWith("runtime.") || name == settings.getImage();
    if (keeps) tasks.add(services.cleared(name));
  }
}

Task<void> NodeAgent::clear(kj::String service) {
  if (service.startsWith("runtime.")) return removeStrangers(kj::mv(service));
  return retain(kj::mv(service));
}

// Only these tasks have anything there: what others have is let go of.
Task<void> NodeAgent::retain(kj::String service) {
  bool images = service == settings.getImage();
  for (uint64_t pauseMs = FIRST_PAUSE_MS;; pauseMs = kj::min(2 * pauseMs, MAX_PAUSE_MS)) {
    auto telling = images ? retainImages() : retainNetwork(service);
    auto told = co_await attempt(kj::mv(telling));
    if (told.ok()) co_return;
    if (pauseMs >= MAX_PAUSE_MS) {
      host.log().warn("agent.retain-failed", {{"service", service}, {"reason", told.message()}});
    }
    co_await env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
  }
}

kj::Promise<void> NodeAgent::retainNetwork(kj::StringPtr service) {
  kj::Vector<kj::StringPtr> holders;
  for (auto& [id, controller] : controllers) {
    if (controller->holdsNetworks()) holders.add(id.c_str());
  }
  auto tell = [&holders](auto request) {
    auto ids = request.initTaskIds(holders.size());
    for (uint32_t i = 0; i < holders.size(); ++i) ids.set(i, holders[i]);
    return request.send().ignoreResult();
  };
  if (service == LEGS) return tell(services.legs().retainRequest());
  if (service == NAMES) return tell(services.names().retainRequest());
  if (service == PORTS) return tell(services.ports().retainRequest());
  return tell(services.network(service.slice(strlen("network."))).retainRequest());
}

kj::Promise<void> NodeAgent::retainImages() {
  auto request = services.images().retainHoldersRequest();
  auto ids = request.initHolders(controllers.size());
  uint32_t i = 0;
  for (auto& entry : controllers) ids.set(i++, entry.first.c_str());
  return request.send().ignoreResult();
}

// Containers that no durable task stands for: their assignment was never acknowledged. Settles when
// each has been tried once.
Task<void> NodeAgent::removeStrangers(kj::String runtime) {
  auto listing = services.runtime(runtime).listRequest(SMALL).send();
  auto listed = co_await attempt(kj::mv(listing));
  if (!listed.ok()) co_return;  // it tells of its next start
  for (auto container : listed.value().getContainers()) {
    auto id = kj::str(container.getId());
    if (controllers.count(id.cStr()) > 0) continue;
    host.log().info("removing a container that belongs to no task", {{"container", id}});
    auto request = services.runtime(runtime).removeRequest(SMALL);
    request.setId(id);
    auto removed = co_await attempt(request.send().ignoreResult());
    if (!removed.ok()) {
      host.log().error("agent.remove-failed", {{"container", id}, {"reason", removed.message()}});
      tasks.add(removeStranger(kj::str(runtime), kj::mv(id)));
    }
  }
}

Task<void> NodeAgent::clearRuntimes() {
  auto runtimes = co_await services.running("runtime.");
  for (auto& name : runtimes) tasks.add(removeStrangers(kj::str(name)));
}

Task<void> NodeAgent::removeStranger(kj::String runtime, kj::String id) {
  for (uint64_t pauseMs = MIN_REMOVAL_PAUSE_MS;; pauseMs = kj::min(2 * pauseMs, MAX_PAUSE_MS)) {
    co_await env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
    if (controllers.count(id.cStr()) > 0) co_return;
    auto request = services.runtime(runtime).removeRequest(SMALL);
    request.setId(id);
    auto removed = co_await attempt(request.send().ignoreResult());
    if (removed.ok()) co_return;
  }
}

Task<void> NodeAgent::assign(AssignContext context) {
  auto params = context.getParams();
  if (params.getEpoch() < epoch) {
    fail(kj::str("this node follows a newer leader (epoch ", epoch, ", not ", params.getEpoch(),
                 ")"));
  }
  kj::Vector<kj::Promise<void>> durable;
  if (params.getEpoch() > epoch) {
    epoch = params.getEpoch();
    durable.add(store.saveEpoch(epoch, cluster.c_str()));
  } else {
    durable.add(store.whenEpochDurable());
  }
  std::set<std::string> named;
  std::vector<std::pair<uint32_t, kj::String>> refused;
  auto assignments = params.getAssignments();
  services.networks.begin(params.getComplete());
  services.mesh.begin(params.getComplete());
  for (uint32_t i = 0; i < assignments.size(); ++i) {
    if (assignments[i].isTask()) {
      auto task = assignments[i].getTask();
      named.insert(task.getMeta().getId().cStr());
      durable.add(take(assignments[i]));
    } else if (ofNetworks(assignments[i].which())) {
      services.networks.take(assignments[i]);
    } else if (assignments[i].isMeshNode()) {
      services.mesh.take(assignments[i].getMeshNode());
    } else {
      refused.emplace_back(i, refusalOf(assignments[i], host.node().version));
    }
  }
  if (params.getComplete()) {
    kj::Vector<std::string> unnamed;
    for (auto& entry : controllers) {
      bool unheard = entry.second->record().isLocal() && told.count(entry.first) == 0;
      if (named.count(entry.first) == 0 && !unheard) unnamed.add(entry.first);
    }
    for (auto& id : unnamed) durable.add(forget(id));
  }
  for (auto object : params.getGone()) {
    // Nothing else was taken, so nothing else has to go.
    if (object.getKind() == schema::AssignedKind::TASK) durable.add(forget(object.getId().cStr()));
    if (ofNetworks(object.getKind())) services.networks.forget(object);
    if (object.getKind() == schema::AssignedKind::MESH_NODE) services.mesh.forget(object.getId());
  }
  services.networks.end();
  services.mesh.end();
  auto all = kj::joinPromises(durable.releaseAsArray());
  co_await all;
  auto list = context.getResults().initRefused(refused.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setIndex(refused[i].first);
    list[i].setReason(refused[i].second);
  }
}

kj::Promise<void> NodeAgent::take(schema::Assignment::Reader assignment) {
  auto wanted = assignment.getTask();
  std::string id = wanted.getMeta().getId().cStr();
  auto known = controllers.find(id);
  if (known == controllers.end()) {
    auto record = kj::heap<TaskRecord>(wanted);
    // This node has forgotten it: it may have run, and no task does so twice.
    bool forgotten = record->state() > schema::TaskState::ASSIGNED;
    if (forgotten) record->lose(env.nowNs());
    auto controller = newController(kj::mv(record));
    auto saved = store.save(controller->record());
    controller->equip(assignment.getLogin());
    controller->begin();
    if (forgotten) statusChanged(controller->record());
    controllers[id] = kj::mv(controller);
    return saved;
  }
  auto& controller = *known->second;
  controller.equip(assignment.getLogin());
  // What the manager has not heard yet, or lost, is said again.
  if (wanted.getStatus().getState() < controller.record().state())
    statusChanged(controller.record());
  auto meta = controller.record().task().getMeta();
  bool adopted = controller.record().isLocal() && wanted.getMeta().getVersion() > 0;
  if (adopted) {
    meta.setVersion(wanted.getMeta().getVersion());
    services.resources.giveSlotBack(controller.record().task());
  }
  if (!adopted && wanted.getDesired() <= controller.record().task().getDesired()) {
    return store.whenDurable(controller.record().id());
  }
  controller.wish(wanted.getDesired());
  return store.save(controller.record());
}

// Settles when its end is durable: one that still runs is ended after a crash as well, whether a
// manager is there or not.
kj::Promise<void> NodeAgent::forget(const std::string& id) {
  auto known = controllers.find(id);
  if (known == controllers.end()) return kj::READY_NOW;
  auto& record = known->second->record();
  if (!leaving.insert(id).second) return store.whenDurable(record.id());
  bool ended = isTerminal(record.state());
  tasks.add(forgetLater(id));
  return ended ? kj::Promise<void>(kj::READY_NOW) : store.save(record);
}

Task<void> NodeAgent::forgetLater(std::string id) {
  for (uint64_t pauseMs = MIN_REMOVAL_PAUSE_MS;; pauseMs = kj::min(2 * pauseMs, MAX_PAUSE_MS)) {
    auto outcome = co_await attempt(controllers.at(id)->remove());
    if (outcome.ok()) break;
    host.log().error("agent.remove-failed", {{"task", id.c_str()}, {"reason", outcome.message()}});
    co_await env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
  }
  controllers.erase(id);
  leaving.erase(id);
  dirty.erase(id);
  services.feed.changed(id.c_str());
  host.publish("container.removed", id.c_str());
}

Task<void> NodeAgent::logs(LogsContext context) {
  auto params = context.getParams();
  auto known = controllers.find(params.getTaskId().cStr());
  if (known == controllers.end()) fail(kj::str("this node has no task '", params.getTaskId(), "'"));
  auto& record = known->second->record();
  auto name = record.task().getSpec().getRuntime();
  if (record.state() < schema::TaskState::READY && name.size() == 0) co_return;  // nothing ran yet
  auto request = services.runtime(kj::str("runtime.", name)).logsRequest();
  request.setId(record.id());
  request.setOptions(params.getOptions());
  request.setSink(params.getSink());
  co_await request.send().ignoreResult();
}

// The runtimes of a node share its volumes: any of them answers for all.
Task<void> NodeAgent::volumes(VolumesContext context) {
  auto name = co_await services.runtimeFor("");
  auto request = services.runtime(name).volumesRequest();
  auto answer = co_await request.send();
  context.getResults().setVolumes(answer.getVolumes());
}

Task<void> NodeAgent::removeVolume(RemoveVolumeContext context) {
  auto name = co_await services.runtimeFor("");
  auto request = services.runtime(name).removeVolumeRequest();
  request.setName(context.getParams().getName());
  auto answer = co_await request.send();
  context.getResults().setFound(answer.getFound());
}

Task<void> NodeAgent::pruneVolumes(PruneVolumesContext context) {
  auto name = co_await services.runtimeFor("");
  auto request = services.runtime(name).pruneVolumesRequest();
  auto answer = co_await request.send();
  context.getResults().setRemoved(answer.getRemoved());
}

Task<void> NodeAgent::readBlob(ReadBlobContext context) {
  auto params = context.getParams();
  auto request = services.images().readBlobRequest();
  request.setImage(params.getImage());
  request.setBlob(params.getBlob());
  request.setOffset(params.getOffset());
  request.setMaxBytes(params.getMaxBytes());
  auto answer = co_await request.send();
  context.setResults(answer);
}

Task<void> NodeAgent::stop() {
  stopped = true;
  sessionLoop = nullptr;
  alone = nullptr;
  subscription = nullptr;
  KJ_IF_MAYBE (open, session) {
    co_await askTrust(nullptr);
    auto request = open->closeRequest(SMALL);
    request.setLeaves(leaves);
    auto enough = env.timer().afterDelay(GOODBYE_LIMIT);
    auto said = request.send().ignoreResult().exclusiveJoin(kj::mv(enough));
    co_await attempt(kj::mv(said));  // who does not hear it finds out
  }
  session = nullptr;
}

void NodeAgent::taskFailed(kj::Exception&& exception) {
  host.log().error("agent.task-failed", {{"reason", plainText(exception)}});
}

}  // namespace orch::control::agent
