#include "task-store.h"

#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::agent {

namespace {

constexpr kj::StringPtr KIND = "task"_kj;

class Loader final : public schema::ObjectSink::Server {
 public:
  Loader(std::vector<kj::Own<TaskRecord>>& records, std::map<std::string, uint64_t>& revisions)
      : records(records), revisions(revisions) {}
  kj::Promise<void> objects(ObjectsContext context) override {
    for (auto object : context.getParams().getObjects()) {
      if (object.getKind() != KIND) continue;
      records.push_back(kj::heap<TaskRecord>(object.getValue()));
      revisions[object.getKey().cStr()] = object.getRevision();
    }
    return kj::READY_NOW;
  }

 private:
  std::vector<kj::Own<TaskRecord>>& records;
  std::map<std::string, uint64_t>& revisions;
};

}  // namespace

TaskStore::TaskStore(Env& env, Log& log, schema::Store::Client store)
    : env(env), log(log), store(kj::mv(store)) {}

Task<std::vector<kj::Own<TaskRecord>>> TaskStore::load() {
  auto limits = co_await store.limitsRequest().send();
  maxOps = kj::max(1u, limits.getMaxOps());
  std::vector<kj::Own<TaskRecord>> records;
  auto request = store.loadRequest();
  request.setSink(kj::heap<Loader>(records, revisions));
  auto loaded = co_await request.send();
  epoch = loaded.getEpoch();
  co_return kj::mv(records);
}

kj::Promise<void> TaskStore::save(TaskRecord& record) {
  return enqueue(record.id().cStr(), Change{record.serialize()});
}

kj::Promise<void> TaskStore::erase(kj::StringPtr id) { return enqueue(id.cStr(), Change{nullptr}); }

kj::Promise<void> TaskStore::enqueue(std::string key, Change change) {
  pending[kj::mv(key)] = kj::mv(change);
  if (pendingPromise == nullptr) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    pendingDone = kj::mv(pair.fulfiller);
    pendingPromise = pair.promise.fork();
  }
  auto done = KJ_ASSERT_NONNULL(pendingPromise).addBranch();
  write();
  return done;
}

void TaskStore::saveSoon(TaskRecord& record) {
  pending[record.id().cStr()] = Change{record.serialize()};
  write();
}

void TaskStore::write() {
  if (writing) return;
  writing = true;
  writer = writeAll().promise().eagerlyEvaluate(
      [](kj::Exception&& e) { KJ_LOG(ERROR, "the agent's store stopped writing", e); });
}

Task<void> TaskStore::writeAll() {
  while (!pending.empty()) {
    auto changes = kj::mv(pending);
    pending.clear();
    auto done = kj::mv(pendingDone);
    pendingPromise = nullptr;
    std::map<std::string, Change> batch;
    kj::Maybe<kj::Exception> failure;
    for (auto it = changes.begin(); it != changes.end() && failure == nullptr;) {
      batch.clear();
      while (it != changes.end() && batch.size() < maxOps) {
        auto node = changes.extract(it++);
        bool unknownErase = node.mapped().value == nullptr && revisions.count(node.key()) == 0;
        if (!unknownErase) batch.insert(kj::mv(node));
      }
      if (batch.empty()) continue;
      auto outcome = co_await attempt(commit(batch));
      if (!outcome.ok()) {
        failure = kj::mv(outcome.error());
        continue;
      }
      for (auto& [key, change] : batch) {
        if (change.value == nullptr) {
          revisions.erase(key);
        } else {
          revisions[key] = outcome.value();
        }
      }
    }
    KJ_IF_MAYBE (exception, failure) {
      log.error("agent.save-failed", {{"reason", exception->getDescription()}});
      if (done.get() != nullptr) done->reject(kj::mv(*exception));
    } else if (done.get() != nullptr) {
      done->fulfill();
    }
  }
  writing = false;
}

Task<uint64_t> TaskStore::commit(const std::map<std::string, Change>& changes) {
  auto request = store.commitRequest();
  auto id = env.newId();
  auto batch = request.initBatch();
  batch.setId(id);
  auto ops = batch.initOps(changes.size());
  uint32_t i = 0;
  for (auto& [key, change] : changes) {
    auto op = ops[i++];
    op.setKind(KIND);
    op.setKey(key.c_str());
    auto known = revisions.find(key);
    op.setExpected(known == revisions.end() ? 0 : known->second);
    KJ_IF_MAYBE (value, change.value) {
      op.setPut(*value);
    } else {
      op.setDelete();
    }
  }
  request.setEpoch(epoch);
  auto answer = co_await request.send();
  auto result = answer.getResult();
  if (result.isCommitted()) co_return result.getCommitted();
  if (result.isRefused())
    fail(kj::str("the node's store refused a task: ", result.getRefused().getReason()));
  auto find = store.findRequest();
  find.setBatchId(id);
  auto found = co_await find.send();
  if (!found.getFound())
    fail(kj::str("the node's store did not take a task: ", result.getUnknown()));
  co_return found.getRevision();
}

}  // namespace orch::control::agent
