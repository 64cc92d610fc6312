#include "orch/store-client.h"

#include <kj/refcount.h>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch {

namespace {

constexpr kj::Duration FIRST_FIND_PAUSE = 20 * kj::MILLISECONDS;
constexpr kj::Duration LAST_FIND_PAUSE = 1 * kj::SECONDS;

// The store may keep the sink longer than the load is wanted.
struct LoadLink final : public kj::Refcounted {
  kj::Maybe<kj::Function<void(schema::StoredObject::Reader)>> take;
};

class LoadSink final : public schema::ObjectSink::Server {
 public:
  explicit LoadSink(kj::Own<LoadLink> link) : link(kj::mv(link)) {}
  kj::Promise<void> objects(ObjectsContext context) override {
    KJ_IF_MAYBE (take, link->take) {
      for (auto object : context.getParams().getObjects()) (*take)(object);
    }
    return kj::READY_NOW;
  }

 private:
  kj::Own<LoadLink> link;
};

}  // namespace

Task<StoreLimits> StoreClient::limits() {
  auto limits = co_await store.limitsRequest().send();
  co_return StoreLimits{limits.getMaxOps(), limits.getMaxBytes(), limits.getShared(),
                        limits.getUri().cStr()};
}

Task<StoreClient::Lead> StoreClient::lead() {
  constexpr uint64_t NO_EPOCH = UINT64_MAX;  // is never the store's
  auto answer = co_await elect("?", NO_EPOCH);
  co_return kj::mv(answer.lead);
}

Task<StoreClient::Election> StoreClient::elect(std::string candidate, uint64_t expectedEpoch,
                                               uint64_t leastEpoch) {
  auto request = store.electRequest();
  request.setCandidate(candidate.c_str());
  request.setExpectedEpoch(expectedEpoch);
  request.setLeastEpoch(leastEpoch);
  auto answer = co_await request.send();
  co_return Election{answer.getWon(), {answer.getEpoch(), answer.getLeader().cStr()}};
}

Task<kj::Maybe<schema::StoreServers::Client>> StoreClient::servers() {
  auto asked = co_await attempt(store.serversRequest().send());
  if (asked.ok() && asked.value().hasServers()) co_return asked.value().getServers();
  bool without = asked.ok() || asked.error().getType() == kj::Exception::Type::UNIMPLEMENTED;
  if (!without) kj::throwFatalException(kj::cp(asked.error()));
  co_return kj::Maybe<schema::StoreServers::Client>(nullptr);
}

Task<StoreClient::Loaded> StoreClient::load(kj::Function<void(schema::StoredObject::Reader)> take) {
  auto link = kj::refcounted<LoadLink>();
  link->take = kj::mv(take);
  KJ_DEFER(link->take = nullptr);
  auto request = store.loadRequest();
  request.setSink(kj::heap<LoadSink>(kj::addRef(*link)));
  auto loaded = co_await request.send();
  co_return Loaded{loaded.getRevision(), loaded.getEpoch()};
}

Task<CommitOutcome> StoreClient::commit(kj::ArrayPtr<const StoreOp> ops, uint64_t epoch) {
  auto request = store.commitRequest();
  auto batchId = env.newId();
  auto batch = request.initBatch();
  batch.setId(batchId);
  auto list = batch.initOps(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    list[i].setKind(ops[i].kind);
    list[i].setKey(ops[i].key);
    list[i].setExpected(ops[i].expected);
    KJ_IF_MAYBE (value, ops[i].value) {
      list[i].setPut(*value);
    } else {
      list[i].setDelete();
    }
  }
  request.setEpoch(epoch);
  return finish(request.send(), kj::mv(batchId), epoch);
}

Task<CommitOutcome> StoreClient::finish(
    kj::Promise<capnp::Response<schema::Store::CommitResults>> sent, kj::String batchId,
    uint64_t epoch) {
  auto answer = co_await attempt(kj::mv(sent));
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
Task<CommitOutcome> StoreClient::findOut(kj::String batchId, kj::String reason) {
  CommitOutcome outcome;
  outcome.kind = CommitOutcome::Kind::LOST;
  outcome.unanswered = true;
  auto deadline = env.timer().now() + timeout;
  for (auto pause = FIRST_FIND_PAUSE; env.timer().now() < deadline;
       pause = kj::min(pause * 2, LAST_FIND_PAUSE)) {
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

}  // namespace orch
