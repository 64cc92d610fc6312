// How the manager gets its state and the lead.
#include <kj/debug.h>

#include <algorithm>

#include "manager.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

// Kinds that a later version added are left alone.
void take(State& state, schema::StoredObject::Reader object) {
  KJ_IF_MAYBE (record, recordNamed(object.getKind())) {
    auto words = attemptNow([&] { return checkedWords(*record, object.getValue()); });
    if (!words.ok()) {
      fail(kj::str("cannot read ", object.getKind(), " '", object.getKey(),
                   "' of the cluster's state: ", words.message()));
    }
    Change change;
    (record->status ? change.status : change.words) = kj::mv(words.value());
    state.apply(Key{record->kind, text(object.getKey())}, kj::mv(change), object.getRevision());
  }
}

void checkComplete(const State& state) {
  for (size_t i = 0; i < KINDS; ++i) {
    auto kind = static_cast<Kind>(i);
    if (traitsOf(kind).statusName.size() == 0) continue;
    for (auto& entry : state.all(kind)) {
      if (entry.second.words.size() > 0) continue;
      fail(kj::str("cannot read ", traitsOf(kind).name, " '", entry.first.c_str(),
                   "' of the cluster's state: there is its status, but not the object"));
    }
  }
}

}  // namespace

Task<void> Manager::load() {
  storeLimits = co_await store->limits();
  KJ_REQUIRE(storeLimits.maxOps >= 2, "the store takes too few operations in one batch",
             storeLimits.maxOps);
  State next;  // beside the one that is read meanwhile
  auto loaded =
      co_await store->load([&](schema::StoredObject::Reader object) { take(next, object); });
  next.revision = loaded.revision;
  checkComplete(next);
  next.loaded(env.nowNs());

  auto electing = host.service<schema::Store>(settings.getStore()).electRequest();
  electing.setCandidate(host.node().id);
  electing.setExpectedEpoch(loaded.epoch);
  auto elected = co_await electing.send();
  if (!elected.getWon()) {
    fail(kj::str("cannot lead the cluster: '", elected.getLeader(), "' leads it (epoch ",
                 elected.getEpoch(), "); a store has one manager at a time"));
  }
  next.newestStampNs = std::max(next.newestStampNs, current.newestStampNs);
  current = kj::mv(next);
  placer.forget();
  current.leader = host.node().id.cStr();
  currentEpoch = elected.getEpoch();
  leading = true;
  notLeading = nullptr;

  dirty.clear();
  int64_t now = env.nowNs();
  current.unseen.sinceNs = now;
  for (auto& node : current.all(Kind::NODE)) dirty.add({Concern::NODE, node.first}, now);
  for (auto& service : current.all(Kind::SERVICE))
    dirty.add({Concern::SERVICE, service.first}, now);
  for (auto& entry : current.tasksByService()) dirty.add({Concern::SERVICE, entry.first}, now);
  dirty.add({Concern::REQUESTS, {}}, now);
  dirty.add({Concern::PLACEMENT, {}}, now);
  dirty.add({Concern::REBALANCE, {}}, now);
  for (auto observer : observers) observer->reloaded();
  poke();
}

}  // namespace orch::control::manager
