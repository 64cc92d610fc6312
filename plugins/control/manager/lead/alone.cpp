// A state that comes to this host alone: from a backup, or since the managers have lost their store
// or each other.
#include <kj/debug.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lead/leadership.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr kj::StringPtr OWN_STORE = "store.local"_kj;
constexpr const char* HOME = "note of where this manager's state is";
constexpr const char* HOME_REMEDY =
    "it has the lines that 'orch init --force-new-cluster' wrote; without it, the state is where "
    "the manifest says";

// Ids of nodes that are not to come back: their hosts would have to be told by others.
std::vector<std::string> leftBehind(const State& state, const std::string& own, bool unreached) {
  std::vector<std::string> found;
  for (auto& [id, object] : state.all(Kind::NODE)) {
    auto node = object.as<schema::Node>();
    bool gone = node.getManages() || (unreached && node.getAddress().size() == 0);
    if (id != own && gone) found.push_back(id);
  }
  return found;
}

Decide removing(std::vector<std::string> ids) {
  return [ids = kj::mv(ids)](View& view) {
    for (auto& id : ids) {
      if (view.node(id) != nullptr) removeNode(view, id);
    }
  };
}

Manager::Check isCluster(std::string id) {
  return [id = kj::mv(id)](const State& state, uint64_t) {
    if (state.find(Kind::CLUSTER, id) != nullptr) return;
    fail(kj::str("the store has the state of another cluster"));
  };
}

}  // namespace

std::string Leadership::homeFile() const {
  return kj::str(host.node().dataDir, "/", host.node().instance, ".home").cStr();
}

// Where this manager begins to look for the state: at the store of its settings, unless it went on
// alone since, in another one.
Task<kj::String> Leadership::findHome() {
  auto read = [path = homeFile()]() { return readChecked(path, HOME, HOME_REMEDY); };
  auto bytes = co_await env.workers().run(kj::mv(read));
  KJ_IF_MAYBE (content, bytes) {
    std::string text(content->asChars().begin(), content->size());
    auto line = text.find('\n');
    bool holds = line != std::string::npos && text.substr(0, line) == settings.getStore().cStr();
    if (holds) {
      wentAlone = true;
      co_return kj::str(text.substr(line + 1).c_str());
    }
  }
  co_return kj::str(settings.getStore());
}

Task<void> Leadership::noteHome(kj::String name) {
  auto write = [path = homeFile(), text = kj::str(settings.getStore(), "\n", name)]() {
    writeChecked(path, text.asBytes());
  };
  co_await env.workers().run(kj::mv(write));
  home = kj::mv(name);
}

// Whoever comes back later would count on this host's, and change the state that was there with it.
// `but`: of where the state is.
Task<void> Leadership::leaveServers(std::string but) {
  std::set<std::string> names{place.cStr()};
  for (auto plugin : ownPlugins()) {
    if (plugin.startsWith("store.")) names.insert(plugin.cStr());
  }
  // One that has not been started, as one that is locked, or that follows somebody elsewhere.
  auto begins = co_await findHome();
  auto own = newStore(begins);
  auto lead = co_await attempt(own->lead());
  if (lead.ok()) names.insert(movedTo(lead.value().leader));
  names.insert(begins.cStr());
  names.erase("");
  names.erase(but);
  for (auto& name : names) {
    auto at = newStore(name.c_str());
    auto left = co_await attempt(tending.leave(*at));
    if (left.ok()) continue;
    host.log().warn("manager.store-server-stays",
                    {{"store", name.c_str()}, {"reason", left.message()}});
  }
}

Task<void> Leadership::leaveCluster() {
  tending.rest();
  std::string none;
  co_await leaveServers(none);
}

// Who led before, or wanted to, has not joined either.
Task<void> Leadership::forgetOthers() {
  Decide decide = [own = std::string(host.node().id.cStr())](View& view) {
    std::vector<std::string> others;
    for (auto& entry : view.base().all(Kind::NODE)) others.push_back(entry.first);
    std::erase(others, own);
    for (auto& id : others) removeNode(view, id);
  };
  co_await manager.submit(kj::mv(decide));
}

Task<void> Leadership::clearRestored(StoreClient::Lead lead) {
  if (!lead.leader.starts_with(RESTORING)) co_return;
  host.log().warn("manager.restore-interrupted, beginning anew with a cluster of this host's own");
  std::vector<Record> nothing;
  co_await fillStore(*store, lead.epoch, kj::mv(nothing));
}

// Of a host that is in no cluster: the store that its own says the state is in runs its servers
// itself, and it has none since it left.
Task<bool> Leadership::beginsAnew(StoreClient::Lead lead) {
  if (members.isMember()) co_return false;
  auto there = newStore(movedTo(lead.leader).c_str());
  auto without = co_await attempt(tending.isWithout(*there));
  if (!without.ok() || !without.value()) co_return false;
  host.log().warn("manager.state-left, beginning anew with a cluster of this host's own");
  std::vector<Record> nothing;
  co_await fillStore(*store, lead.epoch, kj::mv(nothing));
  auto own = co_await store->elect(host.node().id.cStr(), lead.epoch);
  co_return own.won;
}

Task<void> Leadership::restore(Restored restored) {
  requireLead();
  auto check = isCluster(restored.cluster);
  Manager::Leave leave = [&](uint64_t now) { return replaceState(restored, now); };
  co_await manager.move(kj::mv(leave), kj::mv(check));
  auto gone = leftBehind(manager.state(), host.node().id.cStr(), true);
  co_await manager.submit(removing(kj::mv(gone)));
  host.log().info("manager.restored", {{"cluster", restored.cluster.c_str()}});
}

// While nothing else changes the state.
Task<kj::String> Leadership::replaceState(Restored& restored, uint64_t now) {
  if (!manager.state().all(Kind::SERVICE).empty()) {
    fail(kj::str("a service was created on this host meanwhile; remove it, then ask again"));
  }
  auto mark = std::string(RESTORING) + restored.cluster;
  auto elected = co_await store->elect(mark, now, epochWellAfter(restored.epoch, env.nowNs()));
  if (!elected.won) fail(kj::str("another manager was elected meanwhile"));
  auto filled = co_await attempt(fillStore(*store, elected.lead.epoch, kj::mv(restored.records)));
  if (!filled.ok()) {
    fail(kj::str("the backup was not restored: ", filled.message(),
                 "; start orchd again, and this host is one with an empty cluster of its own"));
  }
  epoch = elected.lead.epoch;
  co_return kj::str(place);
}

Task<Leadership::Alone> Leadership::forceNew() {
  if (!members.isMember()) fail(kj::str("this host is in no cluster of several managers"));
  co_await attempt(readable());
  if (!isOld()) {
    fail(kj::str(
        "a manager leads the cluster, as 'orch cluster status' says; 'orch node demote' and "
        "'orch node rm' take others out of it"));
  }
  auto& state = manager.state();
  if (state.all(Kind::CLUSTER).empty() || !isOwn(state)) {
    fail(
        kj::str("this manager does not know the state of the cluster: no manager has led since it "
                "was started. Ask another manager, or 'orch leave --force' and 'orch cluster "
                "restore' a backup here"));
  }
  auto asked = co_await attempt(store->lead());
  if (asked.ok() || leads()) {
    fail(kj::str("the store '", place,
                 "' answers, so that a manager will lead again: see 'orch cluster status'"));
  }
  if (std::exchange(goesAlone, true)) fail(kj::str("this has been asked for already"));
  KJ_DEFER(goesAlone = false);
  Alone alone;
  alone.asOfNs = asOfNs();
  running = kj::READY_NOW;
  replica = nullptr;
  auto done = co_await attempt(goOnAlone(alone));
  if (!done.ok()) {
    if (!leads()) startRunning(kj::READY_NOW);
    kj::throwFatalException(kj::mv(done.error()));
  }
  co_return kj::mv(alone);
}

// Until the election nobody looks at what is in the store: it says that the state is elsewhere, and
// does so again if this comes to nothing.
Task<void> Leadership::goOnAlone(Alone& alone) {
  auto name = kj::str(OWN_STORE);
  auto target = newStore(name);
  auto limits = co_await limitsOf(*target, name);
  if (limits.shared) fail(kj::str("'", name, "' is one that other hosts reach"));
  std::string self = host.node().id.cStr();
  auto lead = co_await target->lead();
  bool free = lead.leader.empty() || lead.leader == self || isCopy(lead.leader) ||
              !movedTo(lead.leader).empty();
  if (!free) fail(kj::str("'", name, "' has a state already, of '", lead.leader.c_str(), "'"));
  auto mark = std::string(MOVED) + place.cStr();
  if (lead.leader != mark) {
    auto marked = co_await target->elect(mark, lead.epoch);
    if (!marked.won) fail(kj::str("somebody else has begun to use '", name, "'"));
    lead = marked.lead;
  }
  co_await noteHome(kj::str(name));
  co_await fillStore(*target, lead.epoch, recordsOf(manager.state()));
  auto begun = co_await attempt(beginAlone(*target, name, lead.epoch, alone));
  if (!begun.ok()) {
    manager.abandon("this manager does not lead the cluster");
    auto back = co_await attempt(takeBack(*target, mark));
    if (!back.ok()) {
      fail(kj::str(begun.message(), "; and '", name, "' says that this host leads: ",
                   back.message(), "; ask again before orchd is started again"));
    }
    kj::throwFatalException(kj::mv(begun.error()));
  }
  co_await leaveServers(name.cStr());
  store = kj::mv(target);
  place = kj::mv(name);
  placeUri = kj::str(limits.uri.c_str());
  epoch = manager.epoch();
  moved = false;
  homeless = false;
  cutOff = false;
  members.noteShared(false);
  become(Role::LEADER);
  alone.store = kj::str(place);
  host.log().warn("manager.goes-on-alone", {{"store", place}});
  std::vector<std::string> own{members.address().cStr()};
  auto known = co_await attempt(members.know(kj::mv(own)));
  if (!known.ok()) host.log().warn("manager.not-noted", {{"reason", known.message()}});
}

Task<void> Leadership::beginAlone(StoreClient& target, kj::StringPtr name, uint64_t expected,
                                  Alone& alone) {
  std::string self = host.node().id.cStr();
  auto elected = co_await target.elect(self, expected, epochWellAfter(epoch, env.nowNs()));
  if (!elected.won) fail(kj::str("somebody else has begun to use '", name, "'"));
  auto cluster = manager.state().all(Kind::CLUSTER).begin()->first;
  co_await manager.start(name, isCluster(cluster));
  co_await led(nullptr);
  auto gone = leftBehind(manager.state(), self, false);
  for (auto& id : gone) {
    auto node = manager.state().find(Kind::NODE, id)->as<schema::Node>();
    alone.removed.push_back(node.getDescription().getHostname().cStr());
  }
  std::sort(alone.removed.begin(), alone.removed.end());
  co_await manager.submit(removing(kj::mv(gone)));
}

// Also when it is not known whether the election was won.
Task<void> Leadership::takeBack(StoreClient& target, std::string mark) {
  auto now = co_await target.lead();
  if (now.leader != host.node().id.cStr()) co_return;
  auto back = co_await target.elect(kj::mv(mark), now.epoch);
  if (!back.won) fail(kj::str("somebody else has begun to use it"));
}

}  // namespace orch::control::manager
