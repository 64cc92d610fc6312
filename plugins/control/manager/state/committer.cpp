#include "state/committer.h"

#include "config.capnp.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr size_t OP_OVERHEAD_BYTES = 128;  // kind, key, expected revision, framing
constexpr kj::Duration FIRST_RETRY = 20 * kj::MILLISECONDS;
constexpr kj::Duration LAST_RETRY = 1 * kj::SECONDS;

// What belongs together, in the order in which it may be committed.
using UnitKey = std::tuple<uint8_t, std::string, uint32_t>;

UnitKey unitOf(const Key& key, const Change& change, const State& state) {
  switch (key.kind) {
    case Kind::CLUSTER:
      return {0, key.id, 0};
    case Kind::NODE:
      return {1, key.id, 0};
    case Kind::SERVICE:
      return {2, key.id, 0};
    case Kind::REQUEST:
      if (change.isDelete()) return {4, key.id, 0};
      return {2, text(change.as<RequestRecord>().getResultId()), 0};
    case Kind::TASK: {
      auto task = change.isDelete() ? state.find(Kind::TASK, key.id)->as<schema::Task>()
                                    : change.as<schema::Task>();
      return {3, text(task.getServiceId()), task.getSlot()};
    }
  }
  KJ_UNREACHABLE;
}

size_t bytesOf(const Op& op) {
  return op.second.words.asBytes().size() + op.first.id.size() + OP_OVERHEAD_BYTES;
}

}  // namespace

std::vector<Batch> cutBatches(std::map<Key, Change> changes, const State& state,
                              StoreLimits limits) {
  std::map<UnitKey, Batch> units;
  for (auto& entry : changes) {
    auto unit = unitOf(entry.first, entry.second, state);
    units[unit].emplace_back(entry.first, kj::mv(entry.second));
  }
  std::vector<Batch> batches;
  size_t bytes = 0;
  for (auto& unit : units) {
    size_t unitBytes = 0;
    for (auto& op : unit.second) unitBytes += bytesOf(op);
    auto fits = [&](size_t ops, size_t more) {
      return !batches.empty() && batches.back().size() + ops <= limits.maxOps &&
             bytes + more <= limits.maxBytes;
    };
    bool together = fits(unit.second.size(), unitBytes);
    for (auto& op : unit.second) {
      if (batches.empty() || (!together && &op == &unit.second.front()) || !fits(1, bytesOf(op))) {
        batches.emplace_back();
        bytes = 0;
      }
      bytes += bytesOf(op);
      batches.back().push_back(kj::mv(op));
    }
  }
  return batches;
}

Task<CommitOutcome> Committer::commit(const Batch& batch, const State& state, uint64_t epoch) {
  auto request = store.commitRequest();
  auto batchId = env.newId();
  auto message = request.initBatch();
  message.setId(batchId);
  auto ops = message.initOps(batch.size());
  for (uint32_t i = 0; i < batch.size(); ++i) {
    auto& [key, change] = batch[i];
    auto before = state.find(key.kind, key.id);
    ops[i].setKind(kindName(key.kind));
    ops[i].setKey(key.id.c_str());
    ops[i].setExpected(before == nullptr ? 0 : before->revision);
    if (change.isDelete()) {
      ops[i].setDelete();
    } else {
      ops[i].setPut(change.words.asBytes());
    }
  }
  request.setEpoch(epoch);

  auto answer = co_await attempt(request.send());
  CommitOutcome outcome;
  if (!answer.ok()) {
    auto reason = kj::str(plainText(answer.error()));
    bool answered = answer.error().getType() == kj::Exception::Type::FAILED ||
                    answer.error().getType() == kj::Exception::Type::UNIMPLEMENTED;
    if (!answered) co_return co_await findOut(kj::mv(batchId), kj::mv(reason));
    outcome.reason = kj::mv(reason);
    co_return kj::mv(outcome);
  }
  auto result = answer.value().getResult();
  if (result.isCommitted()) {
    outcome.kind = CommitOutcome::Kind::COMMITTED;
    outcome.revision = result.getCommitted();
  } else if (result.isUnknown()) {
    auto reason = kj::str(result.getUnknown());
    co_return co_await findOut(kj::mv(batchId), kj::mv(reason));
  } else {
    auto refused = result.getRefused();
    bool conflict = refused.getConflicts().size() > 0;
    bool deposed = refused.getEpoch() != epoch;
    outcome.kind = deposed    ? CommitOutcome::Kind::DEPOSED
                   : conflict ? CommitOutcome::Kind::CONFLICT
                              : CommitOutcome::Kind::FAILED;
    outcome.reason = kj::str(refused.getReason());
  }
  co_return kj::mv(outcome);
}

// Asks until the store answers whether it has the batch.
Task<CommitOutcome> Committer::findOut(kj::String batchId, kj::String reason) {
  CommitOutcome outcome;
  outcome.kind = CommitOutcome::Kind::LOST;
  auto deadline = env.timer().now() + timeout;
  for (auto pause = FIRST_RETRY; env.timer().now() < deadline;
       pause = kj::min(pause * 2, LAST_RETRY)) {
    auto request = store.findRequest();
    request.setBatchId(batchId);
    auto limited = env.timer().timeoutAfter(
        timeout, kj::Promise<capnp::Response<schema::Store::FindResults>>(request.send()));
    auto answer = co_await attempt(kj::mv(limited));
    if (answer.ok()) {
      bool found = answer.value().getFound();
      outcome.kind = found ? CommitOutcome::Kind::COMMITTED : CommitOutcome::Kind::FAILED;
      outcome.revision = answer.value().getRevision();
      outcome.reason = kj::mv(reason);
      co_return kj::mv(outcome);
    }
    co_await env.timer().afterDelay(pause);
  }
  outcome.reason = kj::mv(reason);
  co_return kj::mv(outcome);
}

}  // namespace orch::control::manager
