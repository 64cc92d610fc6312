#include "lead/state-copy.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr std::string_view COPYING = "copying:";
constexpr char MEANWHILE_AT = '@';
constexpr int MOST_TRIES = 10;
constexpr kj::Duration ASK_AGAIN = 200 * kj::MILLISECONDS;

}  // namespace

std::string movedTo(const std::string& leader) {
  if (leader.starts_with(MOVED)) return leader.substr(MOVED.size());
  auto at = isCopy(leader) ? leader.find(MEANWHILE_AT) : std::string::npos;
  return at == std::string::npos ? std::string() : leader.substr(at + 1);
}

bool isCopy(const std::string& leader) { return leader.starts_with(COPYING); }

StateCopy::StateCopy(Env& env, StoreClient& from, StoreClient& to, kj::StringPtr name)
    : env(env), from(from), to(to), name(kj::str(name)) {}

Task<void> StateCopy::begin(std::string cluster, uint64_t epoch) {
  auto mark = std::string(COPYING) + cluster;
  auto lead = co_await to.lead();
  auto meanwhile = movedTo(lead.leader);
  bool free = lead.leader.empty() || lead.leader == mark || !meanwhile.empty();
  if (!meanwhile.empty()) mark += MEANWHILE_AT + meanwhile;
  std::vector<Change> old;
  co_await to.load([&](schema::StoredObject::Reader object) {
    Change change;
    change.name = {object.getKind().cStr(), object.getKey().cStr()};
    change.expected = object.getRevision();
    change.removes = true;
    old.push_back(kj::mv(change));
  });
  bool strange = lead.leader.empty() && !old.empty();
  if (!free || strange) {
    fail(kj::str("the store '", name, "' has a state already",
                 strange ? kj::String() : kj::str(", of '", lead.leader.c_str(), "'"),
                 "; give this cluster's a place of its own, as another prefix"));
  }
  auto elected = co_await to.elect(mark, lead.epoch, epoch + 1);
  if (!elected.won) fail(kj::str("somebody else has begun to use the store '", name, "'"));
  toEpoch = elected.lead.epoch;
  auto limits = co_await to.limits();
  co_await write(to, limits, kj::mv(old), toEpoch, false);
}

Task<void> StateCopy::catchUp(uint64_t epoch) {
  ++passes;
  std::vector<Change> changes;
  auto loaded = co_await from.load([&](schema::StoredObject::Reader object) {
    Name name{object.getKind().cStr(), object.getKey().cStr()};
    auto& revisions = known[name];
    revisions.seen = passes;
    if (revisions.from == object.getRevision()) return;
    Change change;
    change.name = kj::mv(name);
    change.expected = revisions.to;
    change.from = object.getRevision();
    change.value = kj::heapArray<kj::byte>(object.getValue());
    changes.push_back(kj::mv(change));
  });
  if (loaded.epoch != epoch) fail(kj::str("another manager was elected meanwhile"));
  for (auto entry = known.begin(); entry != known.end();) {
    auto& [name, revisions] = *entry;
    if (revisions.seen == passes) {
      ++entry;
      continue;
    }
    Change change;
    change.name = name;
    change.expected = revisions.to;
    change.removes = true;
    changes.push_back(kj::mv(change));
    entry = known.erase(entry);
  }
  auto limits = co_await to.limits();
  co_await write(to, limits, kj::mv(changes), toEpoch, true);
}

Task<void> StateCopy::write(StoreClient& store, StoreLimits limits, std::vector<Change> changes,
                            uint64_t epoch, bool notes) {
  std::vector<std::vector<Change>> units;
  for (auto& change : changes) {
    units.emplace_back();
    units.back().push_back(kj::mv(change));
  }
  auto sizeOf = [](const Change& change) {
    auto bytes = change.name.first.size() + change.name.second.size() + change.value.size();
    return StoreSize{1, bytes};
  };
  for (auto& batch : cutIntoBatches(kj::mv(units), limits, sizeOf)) {
    kj::Vector<StoreOp> ops;
    for (auto& change : batch) {
      StoreOp op{change.name.first.c_str(), change.name.second.c_str(), change.expected, nullptr};
      if (!change.removes) op.value = change.value.asPtr();
      ops.add(op);
    }
    auto outcome = co_await store.commit(ops, epoch);
    if (outcome.kind != CommitOutcome::Kind::COMMITTED) fail(kj::mv(outcome.reason));
    if (!notes) continue;
    for (auto& change : batch) {
      if (change.removes) continue;
      auto& revisions = known[change.name];
      revisions.from = change.from;
      revisions.to = outcome.revision;
    }
  }
}

Task<void> StateCopy::finish(uint64_t epoch) {
  auto mark = std::string(MOVED) + name.cStr();
  for (int tries = 1;; ++tries) {
    auto asked = co_await attempt(from.elect(mark, epoch));
    if (!asked.ok() && tries == MOST_TRIES) {
      fail(kj::str("it is not known whether the state has moved: ", asked.message()));
    }
    if (asked.ok()) {
      auto& elected = asked.value();
      // The try before may be the one that was done.
      if (!elected.won && elected.lead.leader != mark) {
        fail(kj::str("another manager was elected meanwhile"));
      }
      leftEpoch = elected.lead.epoch;
      co_return;
    }
    co_await env.timer().afterDelay(ASK_AGAIN);
  }
}

Task<void> StateCopy::clear() {
  std::vector<Change> old;
  for (auto& [name, revisions] : known) {
    Change change;
    change.name = name;
    change.expected = revisions.from;
    change.removes = true;
    old.push_back(kj::mv(change));
  }
  auto limits = co_await from.limits();
  co_await write(from, limits, kj::mv(old), leftEpoch, false);
}

}  // namespace orch::control::manager
