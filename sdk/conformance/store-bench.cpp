#include "store-bench.h"

#include <kj/debug.h>

namespace orch::conformance {

namespace {

class StateSink final : public schema::ObjectSink::Server {
 public:
  explicit StateSink(State& state) : state(state) {}
  kj::Promise<void> objects(ObjectsContext context) override {
    for (auto object : context.getParams().getObjects()) {
      auto name =
          std::make_pair(std::string(object.getKind().cStr()), std::string(object.getKey().cStr()));
      KJ_REQUIRE(state.objects.empty() || state.objects.rbegin()->first < name,
                 "objects are loaded in order of kind and key, once each", object.getKind(),
                 object.getKey());
      auto value = object.getValue();
      state.objects[name] =
          Stored{object.getRevision(),
                 std::string(reinterpret_cast<const char*>(value.begin()), value.size())};
    }
    return kj::READY_NOW;
  }

 private:
  State& state;
};

class Recorder final : public schema::ChangeSink::Server {
 public:
  explicit Recorder(Seen& seen) : seen(seen) {}
  kj::Promise<void> changes(ChangesContext context) override {
    auto params = context.getParams();
    std::vector<Change> changes;
    for (auto op : params.getOps()) {
      Change change{op.getKind().cStr(), op.getKey().cStr(), op.getExpected(), "", op.isDelete()};
      if (op.isPut()) {
        auto value = op.getPut();
        change.value.assign(reinterpret_cast<const char*>(value.begin()), value.size());
      }
      changes.push_back(kj::mv(change));
    }
    seen.revisions.push_back(params.getRevision());
    seen.changes.push_back(kj::mv(changes));
    reached(params.getRevision());
    return kj::READY_NOW;
  }
  kj::Promise<void> resync(ResyncContext context) override {
    seen.resyncs.push_back(context.getParams().getRevision());
    reached(context.getParams().getRevision());
    return kj::READY_NOW;
  }

 private:
  void reached(uint64_t revision) {
    if (revision < seen.awaited) return;
    seen.awaited = UINT64_MAX;
    seen.reached->fulfill();
  }
  Seen& seen;
};

Answer answerOf(schema::CommitResult::Reader result) {
  Answer answer{Answer::UNKNOWN};
  switch (result.which()) {
    case schema::CommitResult::COMMITTED:
      answer.kind = Answer::COMMITTED;
      answer.revision = result.getCommitted();
      break;
    case schema::CommitResult::REFUSED:
      answer.kind = Answer::REFUSED;
      answer.reason = result.getRefused().getReason().cStr();
      answer.epoch = result.getRefused().getEpoch();
      for (auto conflict : result.getRefused().getConflicts()) {
        answer.conflicts.push_back(conflict.cStr());
      }
      break;
    case schema::CommitResult::UNKNOWN:
      answer.reason = result.getUnknown().cStr();
  }
  return answer;
}

}  // namespace

Bench::Bench(StoreFixture& fixture)
    : store(fixture.fresh()), waitScope(fixture.waitScope()), fixture(fixture) {
  askLimits();
}

void Bench::askLimits() {
  auto limits = store.limitsRequest().send().wait(waitScope);
  maxOps = limits.getMaxOps();
  maxBytes = limits.getMaxBytes();
}

void Bench::reopen() {
  store = fixture.reopened();
  askLimits();
}

kj::Promise<Answer> Bench::send(const std::string& batchId, const std::vector<Change>& changes,
                                uint64_t epoch) {
  auto request = store.commitRequest();
  request.setEpoch(epoch);
  auto batch = request.initBatch();
  batch.setId(batchId.c_str());
  auto ops = batch.initOps(changes.size());
  for (uint32_t i = 0; i < changes.size(); ++i) {
    ops[i].setKind(changes[i].kind.c_str());
    ops[i].setKey(changes[i].key.c_str());
    ops[i].setExpected(changes[i].expected);
    if (changes[i].remove) {
      ops[i].setDelete();
    } else {
      ops[i].setPut(kj::arrayPtr(changes[i].value.data(), changes[i].value.size()).asBytes());
    }
  }
  return request.send().then([](auto&& response) { return answerOf(response.getResult()); });
}

Answer Bench::commit(const std::string& batchId, const std::vector<Change>& changes,
                     uint64_t epoch) {
  return send(batchId, changes, epoch).wait(waitScope);
}

uint64_t Bench::mustCommit(const std::string& batchId, const std::vector<Change>& changes,
                           uint64_t epoch) {
  auto answer = commit(batchId, changes, epoch);
  KJ_REQUIRE(answer.kind == Answer::COMMITTED, "a correct batch was not committed", batchId.c_str(),
             answer.reason.c_str());
  return answer.revision;
}

State Bench::load() { return startLoad().wait(waitScope); }

kj::Promise<State> Bench::startLoad() {
  auto state = kj::heap<State>();
  auto request = store.loadRequest();
  request.setSink(kj::heap<StateSink>(*state));
  return request.send().then([state = kj::mv(state)](auto&& response) mutable {
    state->revision = response.getRevision();
    state->epoch = response.getEpoch();
    return kj::mv(*state);
  });
}

uint64_t Bench::find(const std::string& batchId) {
  auto request = store.findRequest();
  request.setBatchId(batchId.c_str());
  auto response = request.send().wait(waitScope);
  return response.getFound() ? response.getRevision() : 0;
}

kj::Promise<Bench::Election> Bench::elect(const std::string& candidate, uint64_t expectedEpoch,
                                          uint64_t leastEpoch) {
  auto request = store.electRequest();
  request.setCandidate(candidate.c_str());
  request.setExpectedEpoch(expectedEpoch);
  request.setLeastEpoch(leastEpoch);
  return request.send().then([](auto&& response) {
    return Election{response.getWon(), response.getEpoch(), response.getLeader().cStr()};
  });
}

capnp::Capability::Client Bench::follow(uint64_t from, Seen& seen) {
  auto request = store.followRequest();
  request.setFrom(from);
  request.setSink(kj::heap<Recorder>(seen));
  return request.send().wait(waitScope).getSubscription();
}

void Bench::await(Seen& seen, uint64_t revision) {
  bool there = (!seen.revisions.empty() && seen.revisions.back() >= revision) ||
               (!seen.resyncs.empty() && seen.resyncs.back() >= revision);
  if (there) return;
  auto pair = kj::newPromiseAndFulfiller<void>();
  seen.awaited = revision;
  seen.reached = kj::mv(pair.fulfiller);
  pair.promise.wait(waitScope);
}

}  // namespace orch::conformance
