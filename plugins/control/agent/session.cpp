// The agent's side of its session with the leading manager.
#include <algorithm>
#include <utility>

#include "agent.h"
#include "node-description.h"
#include "orch/fail.h"

namespace orch::control::agent {

namespace {

constexpr uint64_t FIRST_RETRY_MS = 50;
constexpr uint32_t REPORT_BATCH = 256;
constexpr kj::Duration INFO_LIMIT = 2 * kj::SECONDS;  // of what a network says of itself
// Of a heartbeat's answer: longer than either loop may stand still before its watchdog ends it.
constexpr kj::Duration BEAT_LIMIT = 25 * kj::SECONDS;
constexpr kj::Duration CALL_LIMIT = 30 * kj::SECONDS;  // of what the manager writes down
constexpr uint64_t STATUS_WORDS = 64;                  // of a task in a report, about
// Of what is told of images; see Session.offerImages.
constexpr uint32_t MAX_OFFERED = 1'000;
constexpr uint32_t MAX_NAMES = 8;
// What images may take is looked at so many times within the time that one that nothing needs
// stays.
constexpr uint32_t LOOKS = 6;

}  // namespace

class NodeAgent::Waker final : public schema::EventSink::Server {
 public:
  explicit Waker(kj::Own<Link> link) : link(kj::mv(link)) {}
  kj::Promise<void> events(EventsContext context) override {
    auto& agent = link->get();
    agent.imagesChanged.ring();
    for (auto event : context.getParams().getEvents()) {
      if (event.getTopic() == "plugin.started") {
        agent.services.networks.restarted(event.getSubject());
        if (event.getSubject() == PORTS) agent.services.mesh.restarted();
      }
      if (event.getTopic() == "ports.changed") agent.services.mesh.ask();
      if (!event.getTopic().startsWith("image.")) agent.pluginsChanged.ring();
    }
    if (context.getParams().getLagged() > 0) agent.pluginsChanged.ring();
    return kj::READY_NOW;
  }

 private:
  kj::Own<Link> link;
};

void NodeAgent::Bell::ring() {
  rung = true;
  if (waiting.get() != nullptr) waiting->fulfill();
}

kj::Promise<void> NodeAgent::Bell::heard() {
  kj::Promise<void> sound = kj::READY_NOW;
  if (!rung) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiting = kj::mv(pair.fulfiller);
    sound = kj::mv(pair.promise);
  }
  return sound.then([this]() { rung = false; });
}

kj::ForkedPromise<void> NodeAgent::nextSession() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  sessionEnds = kj::mv(pair.fulfiller);
  return pair.promise.fork();
}

Task<void> NodeAgent::keepSession() {
  uint64_t pauseMs = FIRST_RETRY_MS;
  kj::String complaint;  // each is made once, until a session has lasted
  while (!stopped) {
    auto opened = env.timer().now();
    auto ended = co_await attempt(openSession());
    sessionEnds->fulfill();
    sessionOver = nextSession();
    if (stopped) co_return;
    beAlone();
    auto lasted = env.timer().now() - opened;
    // A manager that ended a session waits for the next one as long as for a beat, and no longer.
    if (lasted > 500 * kj::MILLISECONDS) pauseMs = FIRST_RETRY_MS;
    if (lasted > 10 * kj::SECONDS) complaint = kj::String();
    auto reason = kj::str(ended.ok() ? "the session ended"_kj : ended.message());
    if (reason != complaint) {
      host.log().warn("agent.no-manager", {{"reason", reason}, {"retry", "until one answers"}});
      complaint = kj::mv(reason);
    }
    // Spread, so that the agents of a manager that has gone do not come to the next one together.
    co_await env.timer().afterDelay((pauseMs / 2 + env.random() % pauseMs) * kj::MILLISECONDS);
    pauseMs = kj::min<uint64_t>(pauseMs * 2, settings.getRetryMaxMs());
  }
}

// From the first call to the session's end, which is always an error. A link that is half open is
// one, too: each call has a deadline.
Task<void> NodeAgent::openSession() {
  auto dispatcher = host.service<schema::Dispatcher>(settings.getDispatcher());
  // What would wait for a manager says how it is by then, not how it is now.
  co_await dispatcher.whenResolved();
  capnp::MallocMessageBuilder message;
  auto description = message.initRoot<schema::NodeDescription>();
  co_await describe(description);
  auto request = dispatcher.openRequest();
  request.setNodeId(host.node().id);
  request.setDescription(description);
  auto held = kj::newPromiseAndFulfiller<void>();
  request.setAgent(clientForManager(kj::mv(held.fulfiller)));
  auto local = localRecords();
  auto restarts = request.initRestarts(local.size());
  told.clear();
  for (uint32_t i = 0; i < restarts.size(); ++i) {
    describeRestart(*local[i], restarts[i]);
    told.insert(local[i]->id().cStr());
  }
  kj::Promise<capnp::Response<schema::Dispatcher::OpenResults>> opening = request.send();
  auto answer = co_await env.timer().timeoutAfter(CALL_LIMIT, kj::mv(opening));
  auto session = answer.getSession();
  this->session = session;
  for (auto record : localRecords()) {
    if (told.count(record->id().cStr()) > 0) continue;
    fail(kj::str("task '", record->name(), "' was restarted meanwhile; the manager is told now"));
  }
  alone = nullptr;
  isAlone = false;
  beats.start(answer.getBeats());
  KJ_DEFER(beats.stop());
  for (auto& entry : controllers) dirty.insert(entry.first);
  auto changes = describeOnChange(session).promise();
  auto offers = offerImages(session).promise();
  auto limits = limitImages(session).promise();
  auto reporting = reports(session).promise();
  // Seconds before the next beat in the session, which would notice it, too.
  auto letGo = held.promise.then([]() { fail(kj::str("the manager has let go of this node")); });
  co_await heartbeats(session)
      .promise()
      .exclusiveJoin(kj::mv(letGo))
      .exclusiveJoin(kj::mv(changes))
      .exclusiveJoin(kj::mv(offers))
      .exclusiveJoin(kj::mv(limits))
      .exclusiveJoin(kj::mv(reporting));
}

// Beside those of the thread (kernel/decisions/0009-heartbeats-by-datagram.md), and as often as the
// manager asks for.
Task<void> NodeAgent::heartbeats(schema::Session::Client to) {
  auto due = env.timer().now();
  for (;;) {
    auto begin = env.timer().now();
    auto request = to.heartbeatRequest(SMALL);
    request.setLoopLagMs((begin - due) / kj::MILLISECONDS);
    kj::Promise<capnp::Response<schema::Session::HeartbeatResults>> beat = request.send();
    auto answer = co_await env.timer().timeoutAfter(BEAT_LIMIT, kj::mv(beat));
    due = begin + answer.getNextMs() * kj::MILLISECONDS;
    co_await env.timer().atTime(due);
  }
}

// Which cluster this node is of, and where others reach it. A node of one does not join another one
// while orchd runs: what has another name is the same one, by another authority.
Task<void> NodeAgent::askTrust(kj::Maybe<schema::NodeDescription::Builder> description) {
  auto trust = host.service<schema::Trust>("trust");
  auto asked = co_await attempt(trust.stateRequest().send());
  if (!asked.ok()) co_return;  // a kernel that knows of no clusters
  auto state = asked.value().getState();
  leaves = state.getLeaves();
  authorities = state.getAuthority().cStr();
  KJ_IF_MAYBE (target, description) target->setAddress(state.getAddress());
  auto before = std::exchange(cluster, state.getCluster().cStr());
  if (before == cluster || before.empty() || cluster.empty() || epoch == 0) co_return;
  auto saved = co_await attempt(store.saveEpoch(epoch, cluster.c_str()));
  if (saved.ok()) co_return;
  cluster = kj::mv(before);
  host.log().warn("agent.epoch-not-saved, trying again with the next description of this node",
                  {{"reason", saved.message()}});
}

Task<void> NodeAgent::describe(schema::NodeDescription::Builder description) {
  describeHost(env, host.node(), description);
  co_await askTrust(description);
  auto runtimes = co_await services.runtimes();
  auto list = description.initRuntimes(runtimes.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, runtimes[i]);
  auto plugins = co_await services.running("");
  auto names = description.initPlugins(plugins.size());
  for (uint32_t i = 0; i < names.size(); ++i) names.set(i, plugins[i]);
  auto drivers = co_await services.running("network.");
  kj::Vector<kj::String> networks;
  for (auto& driver : drivers) {
    if (isLocalDriver(driver)) networks.add(kj::str(driver));
  }
  auto pools = description.initNetworks(networks.size());
  kj::Vector<kj::Promise<void>> described;
  for (uint32_t i = 0; i < pools.size(); ++i) {
    tasks.add(services.cleared(networks[i]));
    described.add(describeNetwork(kj::str(networks[i].slice(strlen("network."))), pools[i]));
  }
  auto all = kj::joinPromises(described.releaseAsArray());
  co_await all;
  bool spans = std::any_of(drivers.begin(), drivers.end(), [](auto& name) { return name == LEGS; });
  if (spans) co_await describeRoutes(description);
  services.mesh.describe(description);
  auto& untaken = services.mesh.untaken();
  auto ports = description.initUnanswered(untaken.size());
  uint32_t i = 0;
  for (auto& port : untaken) ports.set(i++, port.c_str());
}

// Without those into its own networks, which are described by themselves. A plugin that does not
// answer now has said before what they are.
Task<void> NodeAgent::describeRoutes(schema::NodeDescription::Builder description) {
  kj::Promise<capnp::Response<schema::LegDriver::RoutesResults>> asked =
      services.legs().routesRequest().send();
  auto limited = env.timer().timeoutAfter(INFO_LIMIT, kj::mv(asked));
  auto answer = co_await attempt(kj::mv(limited));
  if (answer.ok()) {
    routes.clear();
    for (auto route : answer.value().getRoutes()) routes.push_back(route.cStr());
    balancer = answer.value().getBalancer().cStr();
    encryptionKey = answer.value().getEncryptionKey().cStr();
    encryptionProblem = answer.value().getEncryptionProblem().cStr();
  }
  description.setBalancer(balancer.c_str());
  description.setEncryptionKey(encryptionKey.c_str());
  description.setEncryptionProblem(encryptionProblem.c_str());
  std::vector<std::string> foreign = routes;
  for (auto pool : description.asReader().getNetworks()) {
    std::erase(foreign, pool.getSubnet().cStr());
  }
  auto list = description.initRoutes(foreign.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, foreign[i].c_str());
}

// One that does not answer holds up nobody: it is described by its name.
Task<void> NodeAgent::describeNetwork(kj::String name, schema::NetworkPool::Builder pool) {
  pool.setName(name);
  kj::Promise<capnp::Response<schema::NetworkDriver::InfoResults>> asked =
      services.network(name).infoRequest().send();
  auto limited = env.timer().timeoutAfter(INFO_LIMIT, kj::mv(asked));
  auto info = co_await attempt(kj::mv(limited));
  if (!info.ok()) co_return;
  pool.setTotal(info.value().getTotal());
  pool.setDriver(info.value().getDriver());
  pool.setSubnet(info.value().getSubnet());
  pool.setGateway(info.value().getGateway());
}

Task<void> NodeAgent::listen() {
  auto subscribe = host.client().subscribeRequest();
  auto topics = subscribe.initTopics(8);
  topics.set(0, "plugin.started");
  topics.set(1, "plugin.failed");
  topics.set(2, "plugin.stopped");
  topics.set(3, "image.*");
  topics.set(4, "cluster.opened");
  topics.set(5, "routes.changed");
  topics.set(6, "ports.changed");
  topics.set(7, "authority.changed");
  subscribe.setSink(kj::heap<Waker>(kj::addRef(*link)));
  auto subscribed = co_await subscribe.send();
  subscription = subscribed.getSubscription();
}

// Plugins come and go: the managers must know what can run here.
Task<void> NodeAgent::describeOnChange(schema::Session::Client to) {
  for (;;) {
    co_await pluginsChanged.heard();
    auto request = to.describeRequest();
    co_await describe(request.initDescription());
    co_await request.send().ignoreResult();
    co_await clearRuntimes();  // one may have started just now
  }
}

// ---- images of other nodes, and for them --------------------------------------------------------

Task<void> NodeAgent::offerImages(schema::Session::Client to) {
  imagesChanged.ring();
  for (;;) {
    co_await imagesChanged.heard();
    auto running = co_await services.running(settings.getImage());
    if (running.size() == 0) continue;
    auto here = co_await attempt(services.images().listRequest().send());
    if (!here.ok()) {
      co_await env.timer().afterDelay(MAX_PAUSE_MS * kj::MILLISECONDS);
      imagesChanged.ring();
      continue;
    }
    auto telling = env.timer().timeoutAfter(CALL_LIMIT, sendOffer(to, here.value()));
    auto told = co_await attempt(kj::mv(telling));
    if (told.ok()) continue;
    bool unknown = told.error().getType() == kj::Exception::Type::UNIMPLEMENTED;
    if (!unknown) kj::throwFatalException(kj::mv(told.error()));
    co_await kj::Promise<void>(kj::NEVER_DONE);  // an older manager, which has no use for it
  }
}

kj::Promise<void> NodeAgent::sendOffer(schema::Session::Client& to,
                                       schema::ImageStore::ListResults::Reader here) {
  kj::Vector<schema::ImageInfo::Reader> offered;
  for (auto image : here.getImages()) {
    if (image.getKeptBytes() > 0 && offered.size() < MAX_OFFERED) offered.add(image);
  }
  auto request = to.offerImagesRequest();
  auto list = request.initImages(offered.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setDigest(offered[i].getDigest());
    std::set<std::string> pulled;
    for (auto name : offered[i].getPulled()) pulled.insert(name.cStr());
    kj::Vector<kj::StringPtr> imported;
    for (auto name : offered[i].getReferences()) {
      if (pulled.count(name.cStr()) == 0) imported.add(name);
    }
    auto names = list[i].initNames(kj::min(imported.size(), MAX_NAMES));
    for (uint32_t j = 0; j < names.size(); ++j) names.set(j, imported[j]);
  }
  return request.send().ignoreResult();
}

// A manager that does not answer, or is older, is the heartbeats' affair; what fails here is tried
// again at the next look.
Task<void> NodeAgent::limitImages(schema::Session::Client to) {
  for (;;) {
    co_await env.timer().afterDelay(settings.getKeepImageMs() / LOOKS * kj::MILLISECONDS);
    auto done = co_await attempt(limitImagesOnce(to));
    bool told = !done.ok() && done.error().getType() == kj::Exception::Type::FAILED;
    if (told) host.log().warn("agent.images-not-limited", {{"reason", done.message()}});
  }
}

Task<void> NodeAgent::limitImagesOnce(schema::Session::Client to) {
  kj::Promise<capnp::Response<schema::Session::ImageLimitResults>> asked =
      to.imageLimitRequest().send();
  auto limit = co_await env.timer().timeoutAfter(CALL_LIMIT, kj::mv(asked));
  if (limit.getBytes() == 0) co_return;
  auto running = co_await services.running(settings.getImage());
  if (running.size() == 0) co_return;
  auto request = services.images().limitRequest();
  request.setBytes(limit.getBytes());
  request.setNeeded(limit.getNeeded());
  request.setUnusedMs(settings.getKeepImageMs());
  co_await request.send().ignoreResult();
}

Task<void> NodeAgent::findImage(FindContext context) {
  KJ_IF_MAYBE (open, session) {
    auto request = open->findImageRequest();
    request.setDigest(context.getParams().getDigest());
    auto found = co_await request.send();
    context.getResults().setSources(found.getSources());
    co_return;
  }
  fail(kj::str("this node has no session with a manager"));
}

void NodeAgent::statusChanged(TaskRecord& record) {
  if (aloneChanged.get() != nullptr) aloneChanged->fulfill();
  dirty.insert(record.id().cStr());
  services.feed.changed(record.id());
  if (reportWanted.get() != nullptr) reportWanted->fulfill();
}

// What changes while one report is under way goes together in the next. What did not arrive is said
// again in the next session, with all the rest.
Task<void> NodeAgent::reports(schema::Session::Client to) {
  for (;;) {
    if (dirty.empty()) {
      auto pair = kj::newPromiseAndFulfiller<void>();
      reportWanted = kj::mv(pair.fulfiller);
      co_await pair.promise;
    }
    // States that are reached in one turn of the loop make one report.
    co_await kj::evalLast([]() {});
    std::vector<std::string> batch;
    while (!dirty.empty() && batch.size() < REPORT_BATCH) {
      auto next = dirty.extract(dirty.begin());
      if (controllers.count(next.value()) > 0) batch.push_back(kj::mv(next.value()));
    }
    if (batch.empty()) continue;
    co_await env.timer().timeoutAfter(CALL_LIMIT, sendReport(to, batch));
  }
}

kj::Promise<void> NodeAgent::sendReport(schema::Session::Client& to,
                                        const std::vector<std::string>& batch) {
  capnp::MessageSize size{STATUS_WORDS * batch.size(), 0};
  auto request = to.reportRequest(size);
  auto statuses = request.initStatuses(batch.size());
  for (uint32_t i = 0; i < statuses.size(); ++i) {
    statuses[i].setTaskId(batch[i].c_str());
    statuses[i].setStatus(controllers.at(batch[i])->record().status().asReader());
  }
  return request.send().ignoreResult();
}

}  // namespace orch::control::agent
