#include "state/batches.h"

namespace orch::control::manager {

namespace {

UnitKey unitOf(const Key& key, const Change& change, const State& state) {
  auto before = state.snapshot(key);
  // A request that is forgotten is told by that it is gone; others are where they were.
  auto now = change.isDelete() && key.kind != Kind::REQUEST ? before : change.over(before);
  return traitsOf(key.kind).unit(key.id, now);
}

void addOps(const Op& op, const State& state, std::vector<StoreOp>& ops) {
  auto& key = op.first;
  auto& change = op.second;
  auto& traits = traitsOf(key.kind);
  auto before = state.find(key.kind, key.id);
  auto add = [&](kj::StringPtr kind, const Words& words, uint64_t revision) {
    StoreOp next{kind, key.id.c_str(), revision, nullptr};
    if (words.size() > 0) next.value = words.asBytes();
    ops.push_back(next);
  };
  uint64_t revision = before == nullptr ? 0 : before->revision;
  uint64_t statusRevision = before == nullptr ? 0 : before->statusRevision;
  bool gone = change.isDelete();
  if (gone || change.words.size() > 0) add(traits.name, change.words, revision);
  if (gone ? statusRevision > 0 : change.status.size() > 0) {
    add(traits.statusName, change.status, statusRevision);
  }
}
}  // namespace

std::vector<Batch> cutBatches(std::map<Key, Change> changes, const State& state,
                              StoreLimits limits) {
  std::map<UnitKey, Batch> byUnit;
  for (auto& entry : changes) {
    auto unit = unitOf(entry.first, entry.second, state);
    byUnit[unit].emplace_back(entry.first, kj::mv(entry.second));
  }
  std::vector<Batch> units;
  for (auto& unit : byUnit) units.push_back(kj::mv(unit.second));
  std::vector<StoreOp> ops;
  return cutIntoBatches(kj::mv(units), limits, [&](const Op& op) {
    ops.clear();
    addOps(op, state, ops);
    StoreSize size{ops.size(), 0};
    for (auto& each : ops) {
      size.bytes += each.key.size();
      KJ_IF_MAYBE (value, each.value) size.bytes += value->size();
    }
    return size;
  });
}

std::vector<StoreOp> storeOps(const Batch& batch, const State& state) {
  std::vector<StoreOp> ops;
  for (auto& op : batch) addOps(op, state, ops);
  return ops;
}

}  // namespace orch::control::manager
