#include "lead/restored.h"

#include "member/authority.h"
#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

struct Filling {
  std::string kind, key;
  uint64_t expected = 0;
  kj::Array<kj::byte> value;
  bool removes = false;
};

Task<void> commitInBatches(StoreClient& to, StoreLimits limits, uint64_t epoch,
                           std::vector<Filling> changes) {
  std::vector<std::vector<Filling>> units;
  for (auto& change : changes) {
    units.emplace_back();
    units.back().push_back(kj::mv(change));
  }
  auto sizeOf = [](const Filling& change) {
    return StoreSize{1, change.kind.size() + change.key.size() + change.value.size()};
  };
  for (auto& batch : cutIntoBatches(kj::mv(units), limits, sizeOf)) {
    kj::Vector<StoreOp> ops;
    for (auto& change : batch) {
      StoreOp op{change.kind.c_str(), change.key.c_str(), change.expected, nullptr};
      if (!change.removes) op.value = change.value.asPtr();
      ops.add(op);
    }
    auto outcome = co_await to.commit(ops, epoch);
    if (outcome.kind != CommitOutcome::Kind::COMMITTED) fail(kj::mv(outcome.reason));
  }
}

}  // namespace

void Restored::check() const {
  State state;
  for (auto& record : records) {
    takeRecord(state, record.kind.c_str(), record.key.c_str(), record.value, 1);
  }
  checkComplete(state);
  auto found = state.find(Kind::CLUSTER, cluster);
  if (found == nullptr || state.all(Kind::CLUSTER).size() != 1) {
    fail(kj::str("the backup has not the one cluster that it says it is of"));
  }
  auto certificate = found->as<schema::Cluster>().getAuthority();
  auto expected = certificate.size() > 0 ? trust::digestOf(certificate.cStr()) : std::string();
  auto there = authority.empty() ? std::string() : Authority::decode(authority).digest();
  if (expected != there) {
    fail(kj::str("the backup has the key of another authority than its cluster's"));
  }
}

Task<void> fillStore(StoreClient& to, uint64_t epoch, std::vector<Record> records) {
  std::vector<Filling> old;
  co_await to.load([&](schema::StoredObject::Reader object) {
    Filling change{object.getKind().cStr(), object.getKey().cStr(), object.getRevision(), nullptr,
                   true};
    old.push_back(kj::mv(change));
  });
  auto limits = co_await to.limits();
  co_await commitInBatches(to, limits, epoch, kj::mv(old));
  std::vector<Filling> fresh;
  for (auto& record : records) {
    Filling change{kj::mv(record.kind), kj::mv(record.key), 0, kj::mv(record.value), false};
    fresh.push_back(kj::mv(change));
  }
  co_await commitInBatches(to, limits, epoch, kj::mv(fresh));
}

}  // namespace orch::control::manager
