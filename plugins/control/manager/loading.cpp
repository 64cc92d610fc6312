// How the manager gets its state and the lead.
#include <kj/debug.h>

#include <algorithm>

#include "lead/state-copy.h"
#include "manager.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "state/records.h"

namespace orch::control::manager {

Task<StoreClient::Loaded> Manager::read(StoreClient& from, State& next) {
  auto take = [&next](schema::StoredObject::Reader object) {
    takeRecord(next, object.getKind(), object.getKey(), object.getValue(), object.getRevision());
  };
  auto loaded = co_await from.load(kj::mv(take));
  next.revision = loaded.revision;
  checkComplete(next);
  next.loaded(env.nowNs());
  co_return loaded;
}

void Manager::failDeposed(kj::String why) {
  for (auto observer : observers) observer->deposed();
  fail(kj::mv(why));
}

// Which state it is, is looked at before the epoch is raised; what it is, after that, since whoever
// led commits until then.
Task<void> Manager::load(kj::Maybe<EndCopy> endCopy) {
  storeLimits = co_await store->limits();
  KJ_REQUIRE(storeLimits.maxOps >= 2, "the store takes too few operations in one batch",
             storeLimits.maxOps);
  auto lead = co_await store->lead();
  uint64_t expected = lead.epoch;
  State next;  // beside the one that is read meanwhile
  if (endCopy != nullptr) {
    check(current, expected);
  } else {
    auto loaded = co_await read(*store, next);
    check(next, loaded.epoch);
    expected = loaded.epoch;
    lead = co_await store->lead();
  }
  auto home = movedTo(lead.leader);
  bool gone = !home.empty() && !isCopy(lead.leader);
  if (lead.epoch == expected && gone) {
    failDeposed(kj::str("cannot lead the cluster: its state is in '", home.c_str(), "' now"));
  }
  auto elected = co_await store->elect(host.node().id.cStr(), expected);
  if (!elected.won) {
    failDeposed(kj::str("cannot lead the cluster: '", elected.lead.leader.c_str(),
                        "' leads it (epoch ", elected.lead.epoch,
                        "); one manager leads at a time"));
  }
  currentEpoch = elected.lead.epoch;
  bool whole = false;
  KJ_IF_MAYBE (end, endCopy) whole = co_await finishCopy(*end);
  bool again = !whole && (endCopy != nullptr || storeLimits.shared);
  if (again) {
    next = State();
    auto loaded = co_await read(*store, next);
    if (loaded.epoch != currentEpoch) {
      failDeposed(kj::str("another manager was elected meanwhile"));
    }
  }
  check(whole ? current : next, currentEpoch);
  if (!whole) replaceBy(kj::mv(next));
  placer.forget();
  current.leader = host.node().id.cStr();
  leading = true;
  notLeading = nullptr;

  dirty.clear();
  int64_t now = env.nowNs();
  current.unseen = State::neverHeard(now);
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

// What leads by this epoch has written nothing yet: so behind its first commit, which changes
// nothing, there is nothing that the copy may lack.
Task<bool> Manager::finishCopy(EndCopy& endCopy) {
  auto first = co_await store->commit(nullptr, currentEpoch);
  if (first.kind == CommitOutcome::Kind::DEPOSED) {
    failDeposed(kj::str("another manager was elected meanwhile"));
  }
  bool committed = first.kind == CommitOutcome::Kind::COMMITTED;
  uint64_t upTo = committed ? first.revision : 0;
  co_return co_await endCopy(upTo);
}

void Manager::replaceBy(State next) {
  next.newestStampNs = std::max(next.newestStampNs, current.newestStampNs);
  next.images = current.images;
  current = kj::mv(next);
}

Task<uint64_t> Manager::copy(StoreClient& from, Check whether) {
  State next;
  auto loaded = co_await read(from, next);
  whether(next, loaded.epoch);
  KJ_REQUIRE(!leading, "a manager that leads reads no copy");
  replaceBy(kj::mv(next));
  placer.forget();
  noteUnled();
  co_return loaded.revision;
}

void Manager::learn(uint64_t revision, capnp::List<schema::Op>::Reader ops) {
  KJ_REQUIRE(!leading, "a manager that leads knows itself what changes");
  checkComplete(current, ops);
  current.tick(env.nowNs());
  for (auto op : ops) {
    if (op.isPut()) {
      takeRecord(current, op.getKind(), op.getKey(), op.getPut(), revision);
    } else {
      dropRecord(current, op.getKind(), op.getKey(), revision);
    }
  }
  current.revision = revision;  // also if it changes nothing
}

void Manager::noteUnled() {
  current.leader.clear();
  current.unseen = {Presence::SILENT, env.nowNs(), "no manager leads"};
}

kj::Promise<void> Manager::move(Leave leave, Check whether) {
  if (!leading) return whyNot();
  if (moving != nullptr) fail(kj::str("the state is on its way to another store already"));
  auto pair = kj::newPromiseAndFulfiller<void>();
  moving = Moving{kj::mv(leave), kj::mv(whether), kj::mv(pair.fulfiller)};
  poke();
  return kj::mv(pair.promise);
}

Task<void> Manager::moveNow() {
  auto now = kj::mv(KJ_ASSERT_NONNULL(moving));
  moving = nullptr;
  auto left = co_await attempt(now.leave(currentEpoch));
  if (!left.ok()) {
    now.done->reject(kj::cp(left.error()));
    co_return;
  }
  useStore(left.value());
  check = kj::mv(now.check);
  co_await reloadUntilItWorks();
  now.done->fulfill();
}

}  // namespace orch::control::manager
