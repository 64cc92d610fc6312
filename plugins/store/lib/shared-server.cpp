#include "lib/shared-server.h"

#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/semaphore.h"

namespace orch::store {

namespace {
constexpr uint64_t MAX_WAITING_BYTES = 128 << 20;
constexpr size_t MAX_FOLLOWERS = 1000;
// What this node knows is written down so long after it has changed: a copy of the state that is
// restored is older than that.
constexpr kj::Duration SAVE_AFTER = 1 * kj::SECONDS;
}  // namespace

class SharedCore final : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  SharedCore(Env& env, SharedSettings given, kj::Own<SharedState> kept, Log logger)
      : env(env), settings(kj::mv(given)), log(kj::mv(logger)), state(kj::mv(kept)) {
    state->learned = [this] { saveSoon(); };
  }

  Task<CommitAnswer> commit(FlatBatch batch, uint64_t epoch) {
    requireRunning();
    auto bytes = batch->asBytes().size();
    if (waitingBytes >= MAX_WAITING_BYTES) {
      kj::throwFatalException(
          KJ_EXCEPTION(OVERLOADED, "the store has too much to write; try again later"));
    }
    waitingBytes += bytes;
    KJ_DEFER(waitingBytes -= bytes);
    auto pass = co_await writing.enter();
    requireRunning();
    auto answer = co_await state->commit(kj::mv(batch), epoch);
    if (answer.kind == CommitAnswer::Kind::COMMITTED) state->committed();
    co_return kj::mv(answer);
  }

  Task<ElectAnswer> elect(std::string candidate, uint64_t expected, uint64_t least) {
    requireRunning();
    auto pass = co_await writing.enter();
    requireRunning();
    co_return co_await state->elect(kj::mv(candidate), expected, least);
  }

  Task<void> stop() {
    if (stopping) co_return;
    stopping = true;
    auto pass = co_await writing.enter();
    if (unsaved) co_await save();
  }

  void requireRunning() const {
    if (stopping) kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the store has stopped"));
  }

  Env& env;
  const SharedSettings settings;
  Log log;
  kj::Own<SharedState> state;
  size_t followers = 0;

 private:
  void saveSoon() {
    unsaved = true;
    if (saving || stopping) return;
    saving = true;
    tasks.add(env.timer().afterDelay(SAVE_AFTER).then([this] { return save().promise(); }));
  }
  Task<void> save() {
    unsaved = false;
    auto writing = env.workers().run(
        [known = state->known(), file = settings.knownFile] { known.save(file); });
    auto outcome = co_await attempt(kj::mv(writing));
    saving = false;
    if (!outcome.ok() && !saveFails) {
      log.warn("store.known-not-saved, retrying after the next commit",
               {{"reason", outcome.message()}});
    }
    saveFails = !outcome.ok();
    if (unsaved) saveSoon();
  }
  void taskFailed(kj::Exception&& exception) override {
    log.error("store.known-not-saved", {{"reason", plainText(exception)}});
  }

  Semaphore writing{1, "the store has too much to write; try again later"};
  uint64_t waitingBytes = 0;
  bool stopping = false;
  bool unsaved = false;
  bool saving = false;
  bool saveFails = false;
  kj::TaskSet tasks{*this};
};

namespace {

class Subscription final : public capnp::Capability::Server {
 public:
  Subscription(kj::Own<SharedCore> of, uint64_t from, schema::ChangeSink::Client sink)
      : core(kj::mv(of)), following(core->state->follow(from, kj::mv(sink))) {
    ++core->followers;
  }
  ~Subscription() noexcept(false) { --core->followers; }
  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    return internalUnimplemented("Subscription", interfaceId, methodId);
  }

 private:
  kj::Own<SharedCore> core;
  kj::Own<Following> following;
};

class SharedServer final : public schema::Store::Server {
 public:
  explicit SharedServer(kj::Own<SharedCore> core) : core(kj::mv(core)) {}

  kj::Promise<void> limits(LimitsContext context) override {
    context.getResults().setMaxOps(core->settings.limits.maxOps);
    context.getResults().setMaxBytes(core->settings.limits.maxBytes);
    context.getResults().setShared(true);
    context.getResults().setUri(core->settings.uri.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> load(LoadContext context) override { return doLoad(context); }
  kj::Promise<void> commit(CommitContext context) override { return doCommit(context); }
  kj::Promise<void> follow(FollowContext context) override {
    core->requireRunning();
    if (core->followers >= MAX_FOLLOWERS) {
      return KJ_EXCEPTION(OVERLOADED, "too many followers of one store");
    }
    auto params = context.getParams();
    context.getResults().setSubscription(
        kj::heap<Subscription>(kj::addRef(*core), params.getFrom(), params.getSink()));
    return kj::READY_NOW;
  }
  kj::Promise<void> elect(ElectContext context) override { return doElect(context); }
  kj::Promise<void> find(FindContext context) override { return doFind(context); }
  kj::Promise<void> servers(ServersContext context) override {
    KJ_IF_MAYBE (own, core->state->ownServers()) context.getResults().setServers(*own);
    return kj::READY_NOW;
  }

 private:
  Task<void> doLoad(LoadContext context) {
    core->requireRunning();
    auto at = co_await core->state->load(context.getParams().getSink());
    context.getResults().setRevision(at.revision);
    context.getResults().setEpoch(at.epoch);
  }
  Task<void> doCommit(CommitContext context) {
    auto params = context.getParams();
    auto batch = flatten(params.getBatch(), core->settings.limits);
    core->state->checkNames(params.getBatch());
    auto epoch = params.getEpoch();
    context.releaseParams();
    auto answer = co_await core->commit(kj::mv(batch), epoch);
    fill(context.getResults().initResult(), answer);
  }
  Task<void> doElect(ElectContext context) {
    auto candidate = candidateOf(context.getParams());
    auto params = context.getParams();
    auto answer =
        co_await core->elect(kj::mv(candidate), params.getExpectedEpoch(), params.getLeastEpoch());
    fill(context.getResults(), answer);
  }
  Task<void> doFind(FindContext context) {
    core->requireRunning();
    std::string id = context.getParams().getBatchId().cStr();
    auto revision = co_await core->state->find(kj::mv(id));
    fill(context.getResults(), revision);
  }

  kj::Own<SharedCore> core;
};

}  // namespace

SharedService::SharedService(Env& env, SharedSettings settings, kj::Own<SharedState> state, Log log)
    : core(kj::refcounted<SharedCore>(env, kj::mv(settings), kj::mv(state), kj::mv(log))) {}
SharedService::~SharedService() noexcept(false) {}
schema::Store::Client SharedService::client() { return kj::heap<SharedServer>(kj::addRef(*core)); }
Task<void> SharedService::stop() { return core->stop(); }

}  // namespace orch::store
