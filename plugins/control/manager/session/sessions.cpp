#include <kj/debug.h>

#include <algorithm>

#include "decide/local-restart.h"
#include "decide/node-health.h"
#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/image-reference.h"
#include "session/connection.h"
#include "session/image-needs.h"

namespace orch::control::manager {

namespace {
constexpr kj::Duration ASSIGN_LIMIT = 30 * kj::SECONDS;
// Of an answer to the question whether a node is there.
constexpr kj::Duration PING_LIMIT = 10 * kj::SECONDS;
// A node whose datagrams are heard beats so many times less often in its session.
constexpr uint32_t SELDOM = 10;
constexpr size_t MAX_GONE = 100'000;  // unknown tasks of one node that are remembered
constexpr uint64_t FIRST_ASSIGN_WORDS = 160;

bool sameForAgent(const TaskReader& a, const TaskReader& b) {
  return a.getNodeId() == b.getNodeId() && a.getDesired() == b.getDesired() &&
         a.getStartAfterNs() == b.getStartAfterNs();
}
}  // namespace

class SessionServer final : public schema::Session::Server {
 public:
  SessionServer(kj::Own<kj::Refcounted> owner, Sessions& sessions,
                kj::Own<Sessions::Connection> connection)
      : owner(kj::mv(owner)), sessions(sessions), connection(kj::mv(connection)) {}
  ~SessionServer() noexcept(false) { sessions.lost(*connection); }

  kj::Promise<void> close(CloseContext context) override {
    check();
    sessions.closed(*connection, context.getParams().getLeaves());
    return kj::READY_NOW;
  }
  kj::Promise<void> report(ReportContext context) override {
    check();
    checkReported(context.getParams().getStatuses().size());
    auto link = kj::addRef(*connection);
    auto& all = sessions;
    return all.manager
        .submit([context, &all, link = kj::mv(link)](View& view) mutable {
          for (auto report : context.getParams().getStatuses()) {
            bool large = report.totalSize().wordCount * sizeof(capnp::word) > MAX_STATUS_BYTES;
            if (large) all.refused(link->nodeId, "it reports too much of a task", "");
            if (mergeReport(view, link->nodeId, report)) continue;
            auto id = report.getTaskId();
            bool foreign = view.task(manager::view(id)) != nullptr;
            if (foreign) all.refused(link->nodeId, "it reports a task of another node", id);
            bool remembered = id.size() <= MAX_NODE_ID && link->gone.size() < MAX_GONE;
            if (remembered) link->gone[text(id)];
          }
        })
        .then([this]() { sessions.push(*connection); },
              [this](kj::Exception&& exception) {
                // It was not taken in. The agent tells everything again in its next session.
                sessions.finish(*connection);
                kj::throwFatalException(kj::mv(exception));
              });
  }
  kj::Promise<void> heartbeat(HeartbeatContext context) override {
    check();
    context.getResults().setNextMs(sessions.beat(*connection));
    return kj::READY_NOW;
  }
  kj::Promise<void> describe(DescribeContext context) override {
    check();
    checkDescription(connection->nodeId, context.getParams().getDescription(),
                     sessions.maxDescriptionBytes());
    return sessions.manager.submit([context, id = connection->nodeId](View& view) mutable {
      registerNode(view, id, context.getParams().getDescription());
    });
  }
  kj::Promise<void> offerImages(OfferImagesContext context) override {
    check();
    sessions.offers.set(connection->nodeId, context.getParams().getImages());
    return kj::READY_NOW;
  }
  kj::Promise<void> findImage(FindImageContext context) override {
    check();
    sessions.findImage(*connection, context);
    return kj::READY_NOW;
  }
  kj::Promise<void> imageLimit(ImageLimitContext context) override {
    check();
    fillImageLimit(sessions.manager.state(), context.getResults());
    return kj::READY_NOW;
  }

 private:
  // What comes in the session of a node that was taken for gone may have been on its way for long.
  void check() {
    auto& sighting = sessions.manager.state().sightingOf(connection->nodeId);
    if (sighting.presence == Presence::MISSED) sessions.finish(*connection);
    if (!connection->over) return;
    kj::throwFatalException(KJ_EXCEPTION(
        DISCONNECTED, "this session of the node is over; open another one", connection->nodeId));
  }

  kj::Own<kj::Refcounted> owner;  // before what it owns
  Sessions& sessions;
  kj::Own<Sessions::Connection> connection;
};

class DispatcherServer final : public schema::Dispatcher::Server {
 public:
  // `only`: the node at the other end, by its certificate; empty: whoever is asked by this node
  // itself.
  DispatcherServer(kj::Own<kj::Refcounted> owner, Sessions& sessions, std::string only,
                   schema::Role role = schema::Role::MANAGER)
      : owner(kj::mv(owner)), sessions(sessions), only(kj::mv(only)), role(role) {}
  kj::Promise<void> open(OpenContext context) override { return doOpen(context); }

 private:
  Task<void> doOpen(OpenContext context) {
    auto params = context.getParams();
    auto nodeId = kj::str(params.getNodeId());
    if (!only.empty() && nodeId != only.c_str()) {
      sessions.refused(only, "it says that it is another node", nodeId);
      fail(kj::str("the certificate is of node '", only.c_str(), "', not of '", nodeId, "'"));
    }
    checkDescription(nodeId.cStr(), params.getDescription(), sessions.maxDescriptionBytes());
    sessions.checkRate(nodeId.cStr());
    checkReported(params.getRestarts().size());
    Decide decide = [context, &all = sessions, joined = !only.empty()](View& view) mutable {
      auto params = context.getParams();
      if (joined && view.node(manager::view(params.getNodeId())) == nullptr) {
        all.refused(params.getNodeId().cStr(), "it was removed from the cluster", "");
        fail(kj::str(
            "this node was removed from the cluster; 'orch leave' on it, then 'orch join'"));
      }
      all.hear(params.getNodeId().cStr());
      auto id = manager::view(params.getNodeId());
      registerNode(view, id, params.getDescription());
      // It is there from now on, and what it says is judged by that.
      reconcileNode(view, id, all.settings.getOrphanAfterMs() * NS_PER_MS);
      all.takeRestarts(view, id, params.getRestarts());
      view.confirm();  // or a manager that was deposed would go on giving orders
    };
    co_await sessions.manager.submit(kj::mv(decide));
    bool asked = sessions.manager.state().isManager(manager::view(nodeId));
    bool manages = only.empty() ? asked : role == schema::Role::MANAGER;
    auto connection = sessions.adopt(nodeId, context.getParams().getAgent(), manages);
    if (!only.empty()) sessions.admitBeats(*connection, context.getResults().initBeats());
    context.getResults().setSession(
        kj::heap<SessionServer>(kj::addRef(*owner), sessions, kj::addRef(*connection)));
    sessions.push(*connection);
    sessions.tellManagers(*connection);
  }

  kj::Own<kj::Refcounted> owner;
  Sessions& sessions;
  const std::string only;
  const schema::Role role;  // by its certificate
};

Sessions::Sessions(kj::Refcounted& owner, Env& env, Host& host, Manager& manager,
                   const Membership& members, const LoginSafe& logins, ClusterFeed& watchers,
                   Config::Reader settings)
    : owner(owner),
      env(env),
      host(host),
      manager(manager),
      members(members),
      logins(logins),
      watchers(watchers),
      settings(settings),
      receiver(env),
      beats(env, settings.getDownAfterMs() * kj::MILLISECONDS,
            settings.getStartGraceMs() * kj::MILLISECONDS, *this),
      tasks(*this) {
  manager.observe(*this);
  manager.askForImages(offers);
}

Sessions::~Sessions() noexcept(false) {}

void Sessions::taskFailed(kj::Exception&& exception) {
  host.log().error("manager.assign-failed", {{"reason", plainText(exception)}});
}

schema::Dispatcher::Client Sessions::dispatcher() {
  return kj::heap<DispatcherServer>(kj::addRef(owner), *this, "");
}

schema::Dispatcher::Client Sessions::dispatcherFor(std::string nodeId, schema::Role role) {
  return kj::heap<DispatcherServer>(kj::addRef(owner), *this, kj::mv(nodeId), role);
}

void Sessions::refused(const std::string& nodeId, kj::StringPtr reason, kj::StringPtr object) {
  auto untold = refusals.admit(reason.cStr(), env.timer().now());
  if (!untold.has_value()) return;
  host.log().warn("manager.node-refused", {{"node", nodeId.c_str()},
                                           {"reason", reason},
                                           {"object", object},
                                           {"moreLikeIt", kj::str(*untold)}});
}

// An agent tries again once a second; each session costs a commit.
void Sessions::checkRate(const std::string& nodeId) {
  auto nowMs = (env.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
  if (opened.allow(nodeId, nowMs)) return;
  refused(nodeId, "it opens sessions without end", "");
  kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many sessions of one node; try again"));
}

void Sessions::takeRestarts(View& view, std::string_view nodeId,
                            capnp::List<schema::LocalRestart>::Reader restarts) {
  if (restarts.size() == 0) return;
  uint32_t taken = 0;
  for (auto restart : restarts) taken += takeLocalRestart(view, nodeId, restart);
  host.log().info("a node was cut off, and restarted tasks by itself",
                  {{"node", std::string(nodeId).c_str()},
                   {"tasks", restarts.size()},
                   {"replacedMeanwhile", restarts.size() - taken}});
}

void Sessions::forget(const std::string& nodeId) {
  auto it = connections.find(nodeId);
  if (it == connections.end()) return;
  finish(*it->second);
  connections.erase(it);
}

kj::Maybe<schema::Agent::Client> Sessions::agentOf(std::string_view nodeId) {
  KJ_IF_MAYBE (connection, open(nodeId)) return connection->agent;
  return nullptr;
}

kj::Promise<void> Sessions::whenOver(std::string_view nodeId) {
  bool gone = manager.state().sightingOf(nodeId).presence == Presence::MISSED;
  KJ_IF_MAYBE (connection, open(nodeId)) {
    if (!gone) return connection->ended.addBranch();
  }
  return kj::READY_NOW;
}

kj::Own<Sessions::Connection> Sessions::adopt(kj::StringPtr nodeId, schema::Agent::Client agent,
                                              bool manages) {
  auto it = connections.find(manager::view(nodeId));
  if (it != connections.end()) finish(*it->second);
  auto connection = kj::refcounted<Connection>(nodeId, kj::mv(agent));
  connection->manages = manages;
  auto result = kj::addRef(*connection);
  connections.insert_or_assign(nodeId.cStr(), kj::mv(connection));
  hear(nodeId.cStr());
  return result;
}

// Its node gets a complete set the next time: nothing of this session is owed any more.
void Sessions::finish(Connection& connection) {
  if (connection.over) return;
  beats.alone(connection.nodeId);
  connection.over = true;
  connection.dropAgent();
  connection.ends->fulfill();
  letGo(gate.forget(connection.nodeId));
  offers.withdraw(connection.nodeId);
  receiver.forget(connection.beats);
  for (auto list : {&connection.gone, &connection.sent}) {
    for (auto& entry : *list) countLeftover(entry.second, -1);
    list->clear();
  }
}

void Sessions::countLeftover(const std::string& serviceId, int32_t change) {
  if (goneObserver != nullptr && !serviceId.empty()) goneObserver->leftover(serviceId, change);
}

void Sessions::stop() {
  stopped = true;
  calling = kj::READY_NOW;
  gate.clear();
  for (auto& entry : connections) finish(*entry.second);
  beats.stop();
  receiver.stop();
}

// ---- assignments --------------------------------------------------------------------------------

void Sessions::changing(const Key& key, const Snapshot& before, const Snapshot& after) {
  if (key.kind == Kind::SERVICE) noteService(key.id, before, after);
  if (key.kind == Kind::NODE) noteNode(key.id, before, after);
  if (key.kind == Kind::NODE) noteManager(before, after);
  if (key.kind != Kind::TASK) return;
  notePeer(key.id, before, after);
  notePorts(before, after);
  TaskReader task(after ? after : before);
  auto it = connections.find(manager::view(task.getNodeId()));
  if (it == connections.end() || it->second->over || !isAssigned(task)) return;
  if (!after) {
    it->second->changed.erase(key.id);
    auto serviceId = text(task.getServiceId());
    it->second->gone[key.id] = serviceId;
    countLeftover(serviceId, 1);
  } else {
    // Of its status nobody knows more than the agent, once it has the task.
    bool known = before && isAssigned(TaskReader(before));
    if (known && before.words == after.words) return;
    if (known && sameForAgent(TaskReader(before), task)) return;
    if (gate.holds(key.id)) return;
    if (known && endsServing(before, after)) return gate.hold(it->first, key.id);
    it->second->changed.insert(key.id);
  }
  toPush.insert(it->first);
}

void Sessions::applied() {
  tellAllManagers();
  tellPorts();
  holdOrders();
  for (auto& nodeId : std::exchange(toPush, {})) {
    auto it = connections.find(nodeId);
    if (it != connections.end()) push(*it->second);
  }
}

void Sessions::fill(schema::Agent::AssignParams::Builder params, Connection& connection) {
  auto& state = manager.state();
  ++connection.messages;
  params.setEpoch(manager.epoch());
  params.setComplete(connection.complete);
  auto& changed = connection.changed;
  auto ids = connection.complete ? state.tasksOf(connection.nodeId)
                                 : std::vector<std::string>(changed.begin(), changed.end());
  std::vector<const Object*> objects;
  for (auto& id : ids) {
    auto object = state.find(Kind::TASK, id);
    if (object != nullptr && isAssigned(TaskReader(*object))) objects.push_back(object);
  }
  // Networks first: a task is plugged into what is known.
  auto networks = connection.networks.take(state, connection.nodeId, connection.complete);
  auto list = params.initAssignments(networks.assignments() + objects.size());
  uint32_t next = 0;
  fillNetworks(state, networks, list, next);
  for (auto object : objects) {
    TaskReader task(*object);
    auto target = list[next++];
    target.setVersion(object->version());
    target.setTask(task.record());
    task.complete(target.getTask(), object->version());
    if (logins.addTo(target, task, state) || !refusals.admit("login", env.timer().now())) continue;
    host.log().warn("manager.login-lost, going on without it",
                    {{"service", task.getServiceName()}});
  }
  connection.sent = std::exchange(connection.gone, {});
  auto gone = params.initGone(networks.gone() + connection.sent.size());
  uint32_t i = 0;
  for (auto& entry : connection.sent) gone[i++].setId(entry.first.c_str());  // tasks
  fillGone(networks, gone, i);
  connection.complete = false;
  connection.changed.clear();
}

Task<void> Sessions::assign(kj::Own<Connection> connection) {
  // Most of them are small.
  auto request = connection->agent.assignRequest(capnp::MessageSize{FIRST_ASSIGN_WORDS, 0});
  fill(request, *connection);
  auto message = connection->messages;
  auto sent = request.send().then([this, id = connection->nodeId](auto&& answer) {
    for (auto refusal : answer.getRefused()) {
      host.log().warn("manager.assignment-refused, going on without it",
                      {{"node", id.c_str()}, {"reason", refusal.getReason()}});
    }
  });
  auto delivered = co_await attempt(env.timer().timeoutAfter(ASSIGN_LIMIT, kj::mv(sent)));
  connection->inFlight = false;
  if (!delivered.ok()) {
    if (!connection->over) {
      host.log().warn(
          "manager.assign-failed, waiting for the agent to open another session",
          {{"node", connection->nodeId.c_str()}, {"reason", plainText(delivered.error())}});
    }
    finish(*connection);
    co_return;
  }
  for (auto& entry : std::exchange(connection->sent, {})) countLeftover(entry.second, -1);
  if (gate.awaits(connection->nodeId)) tasks.add(settle(kj::addRef(*connection), message));
  push(*connection);
}

// ---- who is alive -------------------------------------------------------------------------------

void Sessions::hear(const std::string& nodeId) {
  if (stopped) return;
  beats.beat(nodeId);
  manager.noteNode(nodeId, Presence::HEARD);
}

void Sessions::admitBeats(Connection& connection, schema::BeatTerms::Builder terms) {
  std::string address = members.address().cStr();
  if (address.empty() || address == deafAt) return;
  auto listening = attemptNow([&] { receiver.listen(address); });
  if (!listening.ok()) {
    deafAt = address;
    host.log().warn("manager.beats-in-sessions, going on without datagrams",
                    {{"reason", plainText(listening.error())}});
    return;
  }
  connection.beats = receiver.admit(connection.nodeId, settings.getHeartbeatMs(), terms);
}

kj::Maybe<Sessions::Connection&> Sessions::open(std::string_view nodeId) {
  auto it = connections.find(nodeId);
  if (it == connections.end() || it->second->over) return nullptr;
  return *it->second;
}

kj::Maybe<kj::TimePoint> Sessions::newestBeat(const std::string& nodeId) {
  KJ_IF_MAYBE (connection, open(nodeId)) {
    KJ_IF_MAYBE (heard, receiver.lastOf(connection->beats)) return heard->at;
  }
  return nullptr;
}

bool Sessions::beaten(const std::string& nodeId) {
  uint32_t lagMs = 0;
  KJ_IF_MAYBE (connection, open(nodeId)) {
    KJ_IF_MAYBE (heard, receiver.lastOf(connection->beats)) lagMs = heard->loopLagMs;
  }
  bool well = lagMs < STUCK_MS;
  auto why = kj::str("its loop has stood still for ", lagMs / 1000, "s");
  manager.noteNode(nodeId, well ? Presence::HEARD : Presence::STUCK, well ? "" : why.cStr());
  return well;
}

// Datagrams may be lost, or not get through at all: before a node is taken for gone it is asked in
// its session.
void Sessions::suspected(const std::string& nodeId) {
  KJ_IF_MAYBE (connection, open(nodeId)) {
    if (!connection->asked) tasks.add(ping(kj::addRef(*connection)));
  }
}

Task<void> Sessions::ping(kj::Own<Connection> connection) {
  connection->asked = true;
  auto request = connection->agent.pingRequest();
  kj::Promise<void> asking = request.send().ignoreResult();
  auto answered = co_await attempt(env.timer().timeoutAfter(PING_LIMIT, kj::mv(asking)));
  connection->asked = false;
  if (answered.ok() && !connection->over) hear(connection->nodeId);
}

bool Sessions::missed(const std::string& nodeId, const std::string& reason) {
  manager.noteNode(nodeId, Presence::MISSED, reason);
  KJ_IF_MAYBE (connection, open(nodeId)) {
    // It may be heard of again, in the same session.
    auto next = kj::newPromiseAndFulfiller<void>();
    connection->ended = next.promise.fork();
    std::exchange(connection->ends, kj::mv(next.fulfiller))->fulfill();
    return connection->beats != 0;
  }
  return false;
}

uint32_t Sessions::beat(Connection& connection) {
  hear(connection.nodeId);
  bool seldom = receiver.lastOf(connection.beats) != nullptr;
  uint32_t period = settings.getHeartbeatMs() * (seldom ? SELDOM : 1);
  uint32_t spread = period / 5;  // a tenth to either side
  return spread == 0 ? period : period - spread / 2 + env.random() % spread;
}

// Whoever leads now is found by opening another session; until this one is sure that it does, that
// has to wait.
void Sessions::silenced() {
  calling = kj::READY_NOW;
  calls.clear();
  gate.clear();
  for (auto& entry : connections) finish(*entry.second);
  connections.clear();
  toPush.clear();
  portsChanged.clear();
  beats.expectAll(settings.getStartGraceMs() * kj::MILLISECONDS);
}

// A new epoch: every agent has to open a session with it, within the grace period.
void Sessions::reloaded() {
  silenced();
  for (auto& entry : manager.state().all(Kind::NODE)) {
    if (isDown(entry.second.as<schema::Node>())) continue;
    beats.expect(entry.first, settings.getStartGraceMs() * kj::MILLISECONDS,
                 manager.state().unseen.reason);
  }
  calling = keepCalling().promise().eagerlyEvaluate([this](auto&& e) { taskFailed(kj::mv(e)); });
}

}  // namespace orch::control::manager
