// Which store the state is in, and how it gets into another one.
#include <kj/debug.h>

#include "lead/leadership.h"
#include "lead/state-copy.h"
#include "lead/store-uri.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {
constexpr kj::Duration PLUGIN_LIMIT = 5 * kj::SECONDS;

void requireStore(schema::NodeDescription::Reader node, kj::StringPtr name) {
  for (auto plugin : node.getPlugins()) {
    if (plugin == name) return;
  }
  fail(kj::str("node '", node.getHostname(), "' does not run '", name,
               "', where the state is or is to be; add it to the manifest there first"));
}

std::set<std::string> storesOf(const State& state, const std::string& nodeId) {
  std::set<std::string> found;
  auto node = state.find(Kind::NODE, nodeId);
  if (node == nullptr) return found;
  for (auto plugin : node->as<schema::Node>().getDescription().getPlugins()) {
    if (plugin.startsWith("store.")) found.insert(plugin.cStr());
  }
  return found;
}

kj::String notShared(const std::vector<std::string>& choice) {
  auto what =
      "this cluster's state is in a store that no other host reaches, so that it has one "
      "manager; "_kj;
  if (choice.empty()) {
    return kj::str(what,
                   "with 'store.etcd' and 'config = { managed = true }' in the manifests of "
                   "both hosts it moves to an etcd that orch runs");
  }
  return kj::str(what, "say where to: 'orch cluster migrate --to ",
                 kj::strArray(choice, "' or 'orch cluster migrate --to "), "'");
}
}  // namespace

kj::Own<StoreClient> Leadership::newStore(kj::StringPtr name) {
  return kj::heap<StoreClient>(env, host.service<schema::Store>(name),
                               settings.getStoreTimeoutMs() * kj::MILLISECONDS);
}

// One whose plugin does not run lets its callers wait.
Task<StoreLimits> Leadership::limitsOf(StoreClient& store, kj::StringPtr name) {
  auto late = env.timer().afterDelay(PLUGIN_LIMIT).then([name = kj::str(name)]() -> StoreLimits {
    fail(kj::str("no plugin '", name, "' runs on this host; see 'orch plugin ls'"));
  });
  auto asked = store.limits().promise();
  co_return co_await asked.exclusiveJoin(kj::mv(late));
}

Task<bool> Leadership::useStore(kj::String name) {
  auto fresh = newStore(name);
  bool first = store.get() == nullptr;
  // At the start, the plugin of the settings is waited for as long as that takes.
  auto asking = first ? fresh->limits() : limitsOf(*fresh, name);
  auto limits = co_await kj::mv(asking);
  members.noteShared(limits.shared);
  place = kj::mv(name);
  placeUri = kj::str(limits.uri.c_str());
  store = kj::mv(fresh);
  auto settled = co_await attempt(tending.settle(*store));
  if (!settled.ok()) {
    host.log().warn("manager.store-servers-wait", {{"reason", settled.message()}});
  }
  co_return limits.shared;
}

Task<StoreClient::Lead> Leadership::findState() {
  constexpr int MOST_MOVES = 8;
  for (int i = 0; i < MOST_MOVES; ++i) {
    auto lead = co_await store->lead();
    // Whoever came by another store's word knows that a copy is whole.
    bool whole = moved && isCopy(lead.leader);
    auto next = whole ? std::string() : movedTo(lead.leader);
    if (next.empty() && isCopy(lead.leader) && !whole) {
      fail(kj::str("the state of a cluster was to be copied to it, which has not ended"));
    }
    if (next.empty()) co_return lead;
    auto used = co_await attempt(useStore(kj::str(next.c_str())));
    if (!used.ok()) {
      fail(kj::str("it says that the state is in '", next.c_str(), "', and ", used.message()));
    }
    moved = true;
  }
  fail(kj::str("the state has moved on from each store that was looked at"));
}

// That it leads still; while the state moves, the stores say that.
bool Leadership::isHeard(const StoreClient::Lead& lead) const {
  if (lead.leader == host.node().id.cStr()) return true;
  return movesTo.size() > 0 && (isCopy(lead.leader) || movedTo(lead.leader) == movesTo.cStr());
}

void Leadership::checkTarget(kj::StringPtr name, bool shared) const {
  for (auto& [id, object] : manager.state().all(Kind::NODE)) {
    auto node = object.as<schema::Node>();
    if (!node.getManages() || id == host.node().id.cStr()) continue;
    auto description = node.getDescription();
    if (!shared) {
      fail(kj::str("the manager '", description.getHostname(), "' would not reach the store '",
                   name, "'; 'orch node demote' all others first"));
    }
    requireStore(description, name);
  }
}

Task<void> Leadership::preparePromotion(std::string nodeId) {
  if (manager.state().isManager(nodeId)) co_return;
  co_await share(nodeId);
  if (manager.state().find(Kind::NODE, nodeId) == nullptr) fail(kj::str("the node was removed"));
  auto node = manager.state().find(Kind::NODE, nodeId)->as<schema::Node>();
  requireStore(node.getDescription(), place);
}

Task<void> Leadership::share(std::string nodeId) {
  if (members.isShared()) co_return;
  auto found = storesOf(manager.state(), host.node().id.cStr());
  if (!nodeId.empty()) {
    auto theirs = storesOf(manager.state(), nodeId);
    std::erase_if(found, [&](auto& name) { return theirs.count(name) == 0; });
  }
  found.erase(place.cStr());
  std::vector<std::string> shared;
  for (auto& name : found) {
    auto candidate = newStore(name.c_str());
    auto limits = co_await attempt(limitsOf(*candidate, name.c_str()));
    if (limits.ok() && limits.value().shared) shared.push_back(name);
  }
  if (shared.size() != 1) fail(notShared(shared));
  host.log().info("manager.state-moves, so that other hosts can manage",
                  {{"store", shared[0].c_str()}});
  co_await migrate(kj::str(shared[0].c_str()));
}

capnp::List<capnp::Text>::Reader Leadership::ownPlugins() const {
  auto* own = manager.state().find(Kind::NODE, host.node().id.cStr());
  if (own == nullptr) return {};
  return own->as<schema::Node>().getDescription().getPlugins();
}

// Of those that run on this host, by what they say themselves.
Task<kj::String> Leadership::storeAt(kj::String to) {
  if (!StoreUri::isOne(std::string_view(to.begin(), to.size()))) co_return kj::mv(to);
  auto wanted = StoreUri::parse(to.cStr());
  std::vector<std::string> names;
  for (auto plugin : ownPlugins()) {
    if (plugin.startsWith(wanted.plugin.c_str())) names.emplace_back(plugin.cStr());
  }
  for (auto& name : names) {
    auto asked = newStore(name.c_str());
    auto limits = co_await attempt(limitsOf(*asked, name.c_str()));
    if (!limits.ok()) continue;
    // What is nobody's to type, as by a prefix of odd characters, is no mistake of who asks.
    auto there = attemptNow([&] { return StoreUri::parse(limits.value().uri); });
    if (there.ok() && wanted.isPartOf(there.value())) co_return kj::str(name.c_str());
  }
  fail(noStoreAt(to));
}

kj::String Leadership::noStoreAt(kj::StringPtr to) const {
  auto wanted = StoreUri::parse(to.cStr());
  auto plugins = ownPlugins();
  auto isTaken = [&](const std::string& id) {
    for (auto plugin : plugins) {
      if (plugin == id.c_str()) return true;
    }
    return false;
  };
  auto id = wanted.plugin;
  for (int number = 2; isTaken(id); ++number) id = wanted.plugin + "#" + std::to_string(number);
  std::string hosts;
  for (auto& [key, object] : manager.state().all(Kind::NODE)) {
    auto node = object.as<schema::Node>();
    if (!node.getManages()) continue;
    hosts += (hosts.empty() ? "" : ", ") + text(node.getDescription().getHostname());
  }
  return kj::str("no store of this host's is at '", to, "'; on each manager (", hosts.c_str(),
                 ") put this line into a file of /etc/orch/plugins.d, as store.toml, and say 'orch "
                 "config reload', then again: ",
                 wanted.manifestLine(id));
}

// Goes on when whoever asked has gone.
Task<Leadership::Moved> Leadership::migrate(kj::String to) {
  requireLead();
  auto name = co_await storeAt(kj::mv(to));
  requireLead();
  if (name == place) co_return Moved{name.cStr()};
  if (movesTo.size() > 0 && movesTo != name) {
    fail(kj::str("the state is on its way to '", movesTo, "' already"));
  }
  if (movesTo.size() == 0) moving = move(kj::mv(name)).promise().fork();
  co_return co_await moving.addBranch();
}

Task<Leadership::Moved> Leadership::move(kj::String name) {
  if (!name.startsWith("store.")) {
    fail(kj::str("usage: --to names a store, as store.etcd or etcd://host:2379, not '", name, "'"));
  }
  movesTo = kj::str(name);
  KJ_DEFER(movesTo = kj::String());
  auto target = newStore(name);
  auto limits = co_await limitsOf(*target, name);
  movesToUri = kj::str(limits.uri.c_str());
  checkTarget(name, limits.shared);
  auto& clusters = manager.state().all(Kind::CLUSTER);
  if (clusters.empty()) fail(kj::str("there is no cluster yet; see 'orch init'"));
  auto clusterId = clusters.begin()->first;
  co_await tending.found(*target);
  StateCopy copy(env, *store, *target, name);
  co_await copy.begin(clusterId, manager.epoch());
  co_await copy.catchUp(manager.epoch());
  Moved done{name.cStr()};
  bool wasAlone = !members.isShared();
  Manager::Leave leaving = [&](uint64_t now) {
    checkTarget(movesTo, limits.shared);  // whoever has become a manager meanwhile
    return leave(copy, kj::mv(target), now, done);
  };
  co_await manager.move(kj::mv(leaving), strictCheck());
  members.noteShared(limits.shared);
  if (wasAlone && limits.shared) startRunning(leadOn().promise());
  done.objects = copy.objects();
  host.log().info("manager.state-moved", {{"store", place}, {"objects", done.objects}});
  auto cleared = co_await attempt(copy.clear());
  if (!cleared.ok()) {
    host.log().warn("manager.old-state-not-cleared, it is not used any more",
                    {{"reason", cleared.message()}});
  }
  co_return done;
}

// While nothing changes the state.
Task<kj::String> Leadership::leave(StateCopy& copy, kj::Own<StoreClient> target, uint64_t now,
                                   Moved& done) {
  auto from = env.timer().now();
  co_await copy.catchUp(now);
  co_await copy.finish(now);
  left = kj::mv(store);
  store = kj::mv(target);
  place = kj::str(movesTo);
  placeUri = kj::mv(movesToUri);
  moved = true;
  epoch = copy.epoch();
  done.paused = env.timer().now() - from;
  co_return kj::str(place);
}

// What this node had of its own, before it became a manager of the cluster, is left to itself.
Task<void> Leadership::settleIn(schema::ManagerPeer::Client peer) {
  kj::Promise<capnp::Response<schema::ManagerPeer::StoreResults>> asked =
      peer.storeRequest().send();
  auto told = co_await inTime(kj::mv(asked));
  bool elsewhere = told.getName() != home;
  auto own = newStore(home);
  StoreClient::Lead lead;
  if (elsewhere) lead = co_await own->lead();
  co_await useStore(kj::str(told.getName()));
  if (!members.isShared()) {
    fail(kj::str("the leader's store '", place, "' is not reached from this host"));
  }
  if (elsewhere) co_await own->elect(std::string(MOVED) + place.cStr(), lead.epoch);
  homeless = false;
  moved = elsewhere;
}

Task<void> Leadership::lookWhere(kj::String leaders) {
  if (leaders.size() == 0 || leaders == place) co_return;
  auto used = co_await attempt(useStore(kj::str(leaders)));
  if (used.ok()) {
    moved = place != home;
  } else {
    host.log().warn("manager.store-not-here, it follows the leader without",
                    {{"store", leaders}, {"reason", used.message()}});
  }
}

Task<kj::Array<kj::byte>> Leadership::inviteServer(std::string nodeId, std::string address) {
  requireLead();
  co_return co_await tending.invite(*store, kj::mv(nodeId), kj::mv(address));
}

Task<std::string> Leadership::serversName() {
  requireLead();
  co_return co_await tending.nameOf(*store);
}

}  // namespace orch::control::manager
