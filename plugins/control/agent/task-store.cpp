#include "task-store.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/agent.capnp.h"

namespace orch::control::agent {

namespace {

constexpr kj::StringPtr TASK_KIND = "task"_kj;
constexpr kj::StringPtr LEADER_KIND = "leader"_kj;
constexpr kj::StringPtr PLAN_KIND = "network"_kj;
constexpr const char* LEADER_KEY = "leader";  // no task's id
// How long a commit without an answer is asked for. Its waiters are told that it failed, then; the
// next write reads what is there.
constexpr kj::Duration FIND_LIMIT = 10 * kj::SECONDS;

kj::StringPtr kindOf(const std::string& key) {
  if (kj::StringPtr(key.c_str()).startsWith(PLAN_PREFIX)) return PLAN_KIND;
  return key == LEADER_KEY ? LEADER_KIND : TASK_KIND;
}

void takeLeader(TaskStore::Loaded& result, kj::ArrayPtr<const kj::byte> value) {
  auto words = alignedCopy(value);
  capnp::FlatArrayMessageReader message(words);
  auto leader = message.getRoot<schema::FollowedLeader>();
  result.leaderEpoch = leader.getEpoch();
  result.cluster = leader.getCluster().cStr();
}

}  // namespace

TaskStore::TaskStore(Env& env, Log& log, schema::Store::Client store)
    : log(log), store(env, kj::mv(store), FIND_LIMIT) {}

Task<TaskStore::Loaded> TaskStore::load() {
  limits = co_await store.limits();
  Loaded result;
  auto take = [this, &result](schema::StoredObject::Reader object) {
    if (object.getKind() == TASK_KIND) {
      result.records.push_back(kj::heap<TaskRecord>(object.getValue()));
    } else if (object.getKind() == LEADER_KIND) {
      takeLeader(result, object.getValue());
    } else if (object.getKind() == PLAN_KIND) {
      result.plan.push_back({object.getKey().cStr(), alignedCopy(object.getValue())});
    } else {
      return;
    }
    revisions[object.getKey().cStr()] = object.getRevision();
  };
  auto loaded = co_await store.load(kj::mv(take));
  epoch = loaded.epoch;
  co_return kj::mv(result);
}

kj::Promise<void> TaskStore::save(TaskRecord& record) {
  return enqueue(record.id().cStr(), record.serialize());
}

kj::Promise<void> TaskStore::saveEpoch(uint64_t leaderEpoch, kj::StringPtr cluster) {
  capnp::MallocMessageBuilder message(16);
  auto leader = message.initRoot<schema::FollowedLeader>();
  leader.setEpoch(leaderEpoch);
  leader.setCluster(cluster);
  auto words = capnp::messageToFlatArray(message);
  return enqueue(LEADER_KEY, kj::heapArray<kj::byte>(words.asBytes()));
}

kj::Promise<void> TaskStore::savePlan(const std::string& key,
                                      kj::ArrayPtr<const kj::byte> assignment) {
  return enqueue(key, kj::heapArray(assignment));
}

kj::Promise<void> TaskStore::erase(kj::StringPtr id) { return enqueue(id.cStr(), nullptr); }

kj::Promise<void> TaskStore::enqueue(std::string key, kj::Maybe<kj::Array<kj::byte>> value) {
  pending[key].value = kj::mv(value);
  return durable(key);
}

void TaskStore::saveSoon(TaskRecord& record) {
  pending[record.id().cStr()].value = record.serialize();
  write();
}

kj::Promise<void> TaskStore::whenEpochDurable() { return durable(LEADER_KEY); }

kj::Promise<void> TaskStore::durable(const std::string& key) {
  auto pair = kj::newPromiseAndFulfiller<void>();
  auto queued = pending.find(key);
  if (queued != pending.end()) {
    queued->second.waiting.push_back(kj::mv(pair.fulfiller));
    write();
    return kj::mv(pair.promise);
  }
  auto underWay = current.find(key);
  if (underWay == current.end()) return kj::READY_NOW;
  underWay->second.waiting.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void TaskStore::write() {
  asked = true;
  if (writing) return;
  writing = true;
  writer = writeAll().promise().eagerlyEvaluate(
      [](kj::Exception&& e) { KJ_LOG(ERROR, "the agent's store stopped writing", e); });
}

Task<void> TaskStore::writeAll() {
  while (asked) {
    asked = false;
    current = kj::mv(pending);
    pending.clear();
    std::vector<std::vector<Changes::iterator>> units;
    for (auto it = current.begin(); it != current.end(); ++it) units.push_back({it});
    auto sizeOf = [](Changes::iterator change) {
      StoreSize size{1, change->first.size()};
      KJ_IF_MAYBE (value, change->second.value) size.bytes += value->size();
      return size;
    };
    auto batches = cutIntoBatches(kj::mv(units), limits, sizeOf);
    for (auto& batch : batches) {
      auto outcome = co_await commit(batch);
      if (outcome.kind != CommitOutcome::Kind::COMMITTED) {
        log.error("agent.save-failed", {{"reason", outcome.reason}});
      }
      for (auto change : batch) settle(change, outcome);
    }
  }
  writing = false;
}

// Never fails.
Task<CommitOutcome> TaskStore::commit(std::vector<Changes::iterator> batch) {
  for (bool again = false;; again = true) {
    if (stale) {
      auto refreshed = co_await attempt(refresh());
      if (!refreshed.ok()) {
        CommitOutcome failed;
        failed.reason = kj::str(plainText(refreshed.error()));
        co_return kj::mv(failed);
      }
    }
    std::vector<StoreOp> ops;
    for (auto& change : batch) {
      auto known = revisions.find(change->first);
      StoreOp op{kindOf(change->first), change->first.c_str(),
                 known == revisions.end() ? 0 : known->second, nullptr};
      KJ_IF_MAYBE (value, change->second.value) {
        op.value = value->asPtr();
      } else if (op.expected == 0) {
        continue;  // never written
      }
      ops.push_back(op);
    }
    CommitOutcome outcome;
    outcome.kind = CommitOutcome::Kind::COMMITTED;
    if (ops.empty()) co_return kj::mv(outcome);
    outcome = co_await store.commit(kj::arrayPtr(ops.data(), ops.size()), epoch);
    stale = outcome.kind != CommitOutcome::Kind::COMMITTED &&
            outcome.kind != CommitOutcome::Kind::FAILED;
    bool behind = outcome.kind == CommitOutcome::Kind::CONFLICT ||
                  outcome.kind == CommitOutcome::Kind::DEPOSED;
    bool lostOnItsWay = outcome.kind == CommitOutcome::Kind::FAILED && outcome.unanswered;
    if (!(behind || lostOnItsWay) || again) co_return kj::mv(outcome);
  }
}

void TaskStore::settle(Changes::iterator at, const CommitOutcome& outcome) {
  auto node = current.extract(at);
  auto& change = node.mapped();
  auto waiting = kj::mv(change.waiting);
  change.waiting.clear();
  if (outcome.kind == CommitOutcome::Kind::COMMITTED) {
    if (change.value == nullptr) {
      revisions.erase(node.key());
    } else {
      revisions[node.key()] = outcome.revision;
    }
    for (auto& fulfiller : waiting) fulfiller->fulfill();
    return;
  }
  kj::Exception error(kj::Exception::Type::FAILED, __FILE__, __LINE__,
                      kj::str("the node's store did not take a task: ", outcome.reason));
  for (auto& fulfiller : waiting) fulfiller->reject(kj::cp(error));
  pending.insert(kj::mv(node));  // unless there is something newer
}

// What the store has, after a commit that it may have applied.
Task<void> TaskStore::refresh() {
  std::map<std::string, uint64_t> found;
  auto take = [&found](schema::StoredObject::Reader object) {
    if (object.getKind() == kindOf(object.getKey().cStr())) {
      found[object.getKey().cStr()] = object.getRevision();
    }
  };
  auto loaded = co_await store.load(kj::mv(take));
  epoch = loaded.epoch;
  revisions = kj::mv(found);
  stale = false;
}

}  // namespace orch::control::agent
