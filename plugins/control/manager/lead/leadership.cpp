#include "lead/leadership.h"

#include <kj/debug.h>

#include <algorithm>

#include "lead/state-copy.h"
#include "member/rotation.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::control::manager {

namespace {
constexpr uint32_t ASKED_AFTER_BEATS = 5;     // whether it still leads
constexpr uint32_t STORE_SILENCE_BEATS = 10;  // DESIGN: two seconds

kj::Maybe<schema::Cluster::Reader> onlyCluster(const State& state) {
  for (auto& entry : state.all(Kind::CLUSTER)) return entry.second.as<schema::Cluster>();
  return nullptr;
}

}  // namespace

Leadership::Leadership(Env& env, Host& host, Manager& manager, Membership& members,
                       Config::Reader settings, Led led)
    : env(env),
      host(host),
      manager(manager),
      members(members),
      settings(settings),
      led(kj::mv(led)),
      tending(env, host, manager, members),
      knownAt(env.timer().now()),
      unledSince(env.timer().now()) {
  manager.observe(*this);
}
Leadership::~Leadership() noexcept(false) {}

void Leadership::waitForKey() {
  locked = true;
  reason = kj::str(
      "this manager is locked, and its tasks run on: 'orch unlock' with the key that "
      "'orch unlock-key' prints on a manager that is not");
  become(Role::OUTSIDER);
}

Task<void> Leadership::start() {
  if (std::exchange(locked, false)) {
    current = Role::UNKNOWN;
    reason = kj::str("this manager is starting");
  }
  home = co_await findHome();
  bool shared = co_await useStore(kj::str(home));
  if (!shared) {
    auto lead = co_await store->lead();
    co_await clearRestored(lead);
    bool here = movedTo(lead.leader).empty();
    if (!here) here = co_await beginsAnew(lead);
    bool alone = false;
    if (here) alone = co_await leadAlone();
    // If that was not done when it went on alone. Later there may be a server that is wanted.
    if (alone && wentAlone) co_await leaveServers(place.cStr());
    if (alone) co_return;
  }
  startRunning(kj::READY_NOW);
}

void Leadership::startRunning(kj::Promise<void> first) {
  auto all = first.then([this]() { return run().promise(); });
  running = all.eagerlyEvaluate([this](kj::Exception&& e) {
    host.log().error("manager.leadership-ended", {{"reason", plainText(e)}});
  });
}

// False if this node has become a manager of a cluster whose state is elsewhere.
Task<bool> Leadership::leadAlone() {
  auto check = [this](const State& state, uint64_t) {
    bool none = state.all(Kind::CLUSTER).empty();
    homeless = members.isMember() && (none || !isOwn(state));
    if (homeless) fail(foreign());
  };
  auto started = co_await attempt(manager.start(place, kj::mv(check)));
  if (homeless) co_return false;
  if (!started.ok()) kj::throwFatalException(kj::cp(started.error()));
  co_await led(nullptr);
  become(Role::LEADER);
  co_return true;
}

Task<void> Leadership::stop() {
  running = kj::READY_NOW;
  replica = nullptr;
  tending.rest();
  following = nullptr;
  become(Role::UNKNOWN);
  reason = kj::str("the manager is being stopped");
  co_await manager.stop();
  moving = nullptr;
}

void Leadership::become(Role next) {
  if (next == Role::LEADER) leadsSinceNs = env.nowNs();
  if (current == Role::LEADER && next != Role::LEADER) unledSince = env.timer().now();
  current = next;
  if (current != Role::LEADER) {
    confirmation = kj::READY_NOW;
    confirming = false;
    refuseUnconfirmed();
  }
  if (current == Role::OUTSIDER) {
    for (auto& fulfiller : std::exchange(waiting, {})) fulfiller->reject(whyNone());
  } else if (current == Role::LEADER || following != nullptr) {
    for (auto& fulfiller : std::exchange(waiting, {})) fulfiller->fulfill();
  }
}

kj::Exception Leadership::whyNone() const {
  return kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::str(reason));
}

void Leadership::requireLead() const {
  if (leads()) return;
  fail(kj::str("this manager does not lead the cluster"));
}

void Leadership::deposed() {
  KJ_IF_MAYBE (fulfiller, loss) {
    (*fulfiller)->fulfill();
    loss = nullptr;
  }
}

Task<void> Leadership::run() {
  std::string told;
  for (;;) {
    former = nullptr;
    // When it is this one's turn, it knows where the state is.
    bool followed = homeless;
    if (homeless) reason = kj::str("no manager that knows where the state is can be reached");
    if (homeless) co_await follow();
    auto asked = co_await attempt(findState());
    if (!asked.ok()) {
      reason = kj::str("the store '", place, "' cannot be used: ", asked.message());
      homeless = co_await isWithoutServer();
      if (homeless) continue;
      auto waiting = members.isMember() ? follow(true) : beats(1);
      co_await kj::mv(waiting);
      continue;
    }
    cutOff = false;
    auto& found = asked.value();
    epoch = found.epoch;
    bool none = found.leader.empty();
    bool own = none || found.leader == host.node().id.cStr() || isCopy(found.leader);
    // A member's store that nobody has led is the wrong one: it is looked at when nobody leads.
    if ((none || !own) && members.isMember() && !followed) co_await follow();
    auto mine = own || members.isMember() || claims ? lead() : refuse();
    auto ended = co_await attempt(kj::mv(mine));
    claims = false;
    if (ended.ok()) continue;
    reason = kj::str(ended.message());
    if (!members.isMember()) become(Role::OUTSIDER);
    if (told != reason.cStr()) host.log().warn("manager.does-not-lead", {{"reason", reason}});
    told = reason.cStr();
    co_await waitToTry();
  }
}

// Whoever leads has one made on this host.
Task<bool> Leadership::isWithoutServer() {
  if (!members.isMember()) co_return false;
  auto asked = co_await attempt(tending.isWithout(*store));
  co_return asked.ok() && asked.value();
}

kj::String Leadership::stateless() const {
  return kj::str("the store '", place,
                 "' has no state, though this node is in a cluster: set it as "
                 "on the cluster's other managers, or back to where the state was, from where "
                 "'orch cluster migrate' moves it");
}

kj::String Leadership::foreign() const {
  return kj::str("the store '", place, "' has the state of ",
                 members.isMember() ? "another cluster; set the one of this node's cluster"
                                    : "a cluster that this host has not joined: 'orch join' with a "
                                      "manager's token, or set another one");
}

Task<void> Leadership::refuse() {
  fail(foreign());
  co_return;
}

Task<void> Leadership::waitToTry() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  claim = kj::mv(pair.fulfiller);
  auto later = beats(ASKED_AFTER_BEATS).promise();
  co_await later.exclusiveJoin(kj::mv(pair.promise));
  claim = nullptr;
}

Task<void> Leadership::claimLead() {
  auto known = co_await attempt(settled());
  if (known.ok() || locked || current != Role::OUTSIDER) co_return;
  claims = true;
  current = Role::UNKNOWN;
  KJ_IF_MAYBE (fulfiller, claim) (*fulfiller)->fulfill();
  co_await settled();
}

Task<void> Leadership::lead() {
  bool copied = false;
  KJ_IF_MAYBE (copy, replica) copied = (*copy)->revision() > 0 && (*copy)->store() == place;
  kj::Maybe<Manager::EndCopy> end;
  if (copied) {
    end = Manager::EndCopy([this](uint64_t revision) { return endCopy(revision); });
  } else {
    replica = nullptr;
  }
  // One that is not elected goes on with its copy.
  co_await manager.start(place, strictCheck(), kj::mv(end));
  co_await led(former);
  if (claims) co_await forgetOthers();
  hasFollowed = false;
  co_await leadOn();
}

Task<bool> Leadership::endCopy(uint64_t revision) {
  bool whole = false;
  KJ_IF_MAYBE (copy, replica) whole = co_await (*copy)->reach(revision);
  replica = nullptr;
  co_return (whole && revision > 0);
}

Task<void> Leadership::leadOn() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  loss = kj::mv(pair.fulfiller);
  followers.clear();
  knownAt = env.timer().now();
  become(Role::LEADER);
  host.log().info("this manager leads the cluster", {{"epoch", manager.epoch()}});
  if (std::exchange(releases, false)) co_await release();
  tending.lead([this]() -> StoreClient& { return *store; });
  auto deposed = pair.promise.then([]() { return false; });
  auto leading = keepLeading().promise();
  auto forgetting =
      forgetKeys().promise().then([]() -> kj::Promise<bool> { return kj::NEVER_DONE; });
  cutOff = co_await leading.exclusiveJoin(kj::mv(deposed)).exclusiveJoin(kj::mv(forgetting));
  co_await letGo();
}

bool Leadership::haveAllTheKey(schema::Cluster::Reader cluster) const {
  if (!members.hasAuthority(trust::digestOf(cluster.getAuthority().cStr()).c_str())) return false;
  for (auto& [id, object] : manager.state().all(Kind::NODE)) {
    if (object.as<schema::Node>().getManages() && !couldLead(id)) return false;
  }
  return true;
}

Task<void> Leadership::forgetKeys() {
  for (;;) {
    co_await beats(ASKED_AFTER_BEATS);
    auto cluster = onlyCluster(manager.state());
    bool keeps = cluster != nullptr && hasSealedKeys(KJ_ASSERT_NONNULL(cluster));
    if (!keeps || !haveAllTheKey(KJ_ASSERT_NONNULL(cluster))) continue;
    auto forgotten = manager.submit([](View& view) { forgetSealedKeys(view); });
    co_await attempt(kj::mv(forgotten));
  }
}

// Or nobody's yet.
bool Leadership::isOwn(const State& state) const {
  KJ_IF_MAYBE (cluster, onlyCluster(state)) {
    return members.isOf(*cluster);
  }
  return true;
}

Manager::Check Leadership::strictCheck() {
  return [this](const State& state, uint64_t loaded) { checkState(state, loaded); };
}

void Leadership::checkState(const State& state, uint64_t loaded) const {
  if (loaded != epoch && loaded != manager.epoch()) {
    fail(kj::str("another manager was elected meanwhile"));
  }
  if (members.isMember() && state.all(Kind::CLUSTER).empty()) fail(stateless());
  if (!isOwn(state)) fail(foreign());
  if (claims && !state.all(Kind::SERVICE).empty()) fail(foreign());
  // What happened while it was away it has not been told.
  if (members.isMember() && !state.isManager(host.node().id.cStr())) {
    fail(
        kj::str("this node was removed from the cluster, or is no manager of it any more: 'orch "
                "leave' on it, then 'orch join'"));
  }
}

Task<bool> Leadership::keepLeading() {
  using Answer = kj::Maybe<StoreClient::Lead>;
  uint32_t silent = 0;
  while (silent < STORE_SILENCE_BEATS) {
    uint32_t pause = silent == 0 ? ASKED_AFTER_BEATS : 1;
    for (bool late = false; pause > 0 && !late; --pause) {
      auto began = env.timer().now();
      co_await beats(1);
      // This process stood still, and the others may have given it up.
      late = env.timer().now() - began > MISSED_BEATS * BEAT;
    }
    auto askedAt = env.timer().now();
    auto asking = store->lead().promise().then([](auto&& lead) { return Answer(kj::mv(lead)); });
    auto silence = beats(STORE_SILENCE_BEATS).promise().then([]() { return Answer(nullptr); });
    auto asked = co_await attempt(asking.exclusiveJoin(kj::mv(silence)));
    if (!asked.ok()) {
      ++silent;
      reason = kj::str("the store '", place, "' cannot be used: ", asked.message());
      continue;
    }
    KJ_IF_MAYBE (now, asked.value()) {
      silent = 0;
      if (!isHeard(*now)) co_return false;
      knownAt = askedAt;
    } else {
      reason = kj::str("the store '", place,
                       "' does not answer: nothing for two seconds; see that most of its servers "
                       "run and reach each other");
      co_return true;
    }
  }
  co_return true;
}

// Who it led goes to whoever leads now.
Task<void> Leadership::letGo() {
  loss = nullptr;
  tending.rest();
  become(Role::FOLLOWER);
  auto addresses = members.managerAddresses();
  if (cutOff) {
    host.log().warn("manager.store-silent, letting go of all nodes until it answers",
                    {{"reason", reason}});
    manager.abandon(reason);
  } else {
    host.log().warn("manager.deposed, another one leads", {{"epoch", manager.epoch()}});
    manager.abandon("this manager no longer leads the cluster");
  }
  if (!members.isMember()) co_return;
  auto knowing = members.know(kj::mv(addresses));
  co_await attempt(kj::mv(knowing));
  co_await release();
}

Task<void> Leadership::release() {
  auto released = host.service<schema::Trust>("trust").releaseRequest().send().ignoreResult();
  co_await attempt(kj::mv(released));
}

// One after the other: what this process slept through counts once.
Task<void> Leadership::beats(uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) co_await env.timer().afterDelay(BEAT);
}

}  // namespace orch::control::manager
