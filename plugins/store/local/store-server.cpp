#include "store-server.h"

#include <kj/debug.h>

#include "change-feed.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::local {

class StoreCore final : public kj::Refcounted {
 public:
  StoreCore(Workers& workers, kj::Timer& timer, std::shared_ptr<LocalStore> store,
            BatchLimits limits, Log log)
      : limits(limits),
        log(kj::mv(log)),
        queue(workers, timer, store, callbacks()),
        feed(queue, store->revision()) {}

  const BatchLimits limits;
  Log log;
  CommitQueue queue;
  ChangeFeed feed;

 private:
  CommitQueue::Callbacks callbacks() {
    return {[this](uint64_t revision, const FlatBatch& batch) { feed.committed(revision, batch); },
            [this](kj::StringPtr reason) { checkpointEnded(reason); }};
  }
  // A full disk is told when it begins and when it ends, not with each commit.
  void checkpointEnded(kj::StringPtr reason) {
    bool fails = reason.size() > 0;
    if (fails && !checkpointFails) {
      log.warn("store.checkpoint-failed, retrying after each commit", {{"reason", reason}});
    }
    if (!fails && checkpointFails) log.info("store.checkpoint-works");
    checkpointFails = fails;
  }

  bool checkpointFails = false;
};

namespace {

class Subscription final : public capnp::Capability::Server {
 public:
  Subscription(kj::Own<StoreCore> core, uint64_t from, schema::ChangeSink::Client sink)
      : core(kj::mv(core)), follower(this->core->feed, from, kj::mv(sink)) {}
  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    return internalUnimplemented("Subscription", interfaceId, methodId);
  }

 private:
  kj::Own<StoreCore> core;
  Follower follower;
};

class Server final : public schema::Store::Server {
 public:
  explicit Server(kj::Own<StoreCore> core) : core(kj::mv(core)) {}

  kj::Promise<void> limits(LimitsContext context) override {
    context.getResults().setMaxOps(core->limits.maxOps);
    context.getResults().setMaxBytes(core->limits.maxBytes);
    return kj::READY_NOW;
  }
  kj::Promise<void> load(LoadContext context) override { return doLoad(context); }
  kj::Promise<void> commit(CommitContext context) override { return doCommit(context); }
  kj::Promise<void> follow(FollowContext context) override {
    auto params = context.getParams();
    context.getResults().setSubscription(
        kj::heap<Subscription>(kj::addRef(*core), params.getFrom(), params.getSink()));
    return kj::READY_NOW;
  }
  kj::Promise<void> elect(ElectContext context) override { return doElect(context); }
  kj::Promise<void> find(FindContext context) override { return doFind(context); }

 private:
  Task<void> doLoad(LoadContext context) {
    auto id = co_await core->queue.call([](LocalStore& store) { return store.beginLoad(); });
    auto outcome = co_await attempt(sendAll(context, id));
    auto ending = core->queue.call([id](LocalStore& store) { store.endLoad(id); });
    co_await ending;
    if (!outcome.ok()) kj::throwFatalException(kj::mv(outcome.error()));
  }
  Task<void> sendAll(LoadContext context, uint64_t id) {
    auto sink = context.getParams().getSink();
    for (;;) {
      auto loading = core->queue.call([id](LocalStore& store) { return store.load(id); });
      auto chunk = co_await loading;
      context.getResults().setRevision(chunk.revision);
      context.getResults().setEpoch(chunk.epoch);
      if (chunk.rows.empty()) co_return;
      auto request = sink.objectsRequest();
      auto list = request.initObjects(chunk.rows.size());
      for (uint32_t i = 0; i < chunk.rows.size(); ++i) {
        auto& row = chunk.rows[i];
        list[i].setKind(row.kind.c_str());
        list[i].setKey(row.key.c_str());
        list[i].setRevision(row.revision);
        list[i].setValue(kj::arrayPtr(row.value.data(), row.value.size()).asBytes());
      }
      co_await request.send();
    }
  }
  Task<void> doCommit(CommitContext context) {
    auto params = context.getParams();
    PendingCommit commit{flatten(params.getBatch(), core->limits), params.getEpoch()};
    context.releaseParams();
    auto answer = co_await core->queue.commit(kj::mv(commit));
    fill(context.getResults().initResult(), answer);
  }
  Task<void> doElect(ElectContext context) {
    auto candidate = candidateOf(context.getParams());
    auto expected = context.getParams().getExpectedEpoch();
    auto least = context.getParams().getLeastEpoch();
    auto electing = core->queue.call([candidate, expected, least](LocalStore& store) {
      return store.elect(candidate, expected, least);
    });
    auto answer = co_await electing;
    fill(context.getResults(), answer);
  }
  Task<void> doFind(FindContext context) {
    std::string id = context.getParams().getBatchId().cStr();
    auto finding = core->queue.call([id](LocalStore& store) { return store.find(id); });
    auto revision = co_await finding;
    fill(context.getResults(), revision);
  }

  kj::Own<StoreCore> core;
};

}  // namespace

StoreService::StoreService(Workers& workers, kj::Timer& timer, std::shared_ptr<LocalStore> store,
                           BatchLimits limits, Log log)
    : core(kj::refcounted<StoreCore>(workers, timer, kj::mv(store), limits, kj::mv(log))) {}
StoreService::~StoreService() noexcept(false) {}
schema::Store::Client StoreService::client() { return kj::heap<Server>(kj::addRef(*core)); }
kj::Promise<void> StoreService::stop() { return core->queue.close(); }

}  // namespace orch::store::local
