#include "lead/state-replica.h"

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr kj::Duration FIRST_AGAIN = 200 * kj::MILLISECONDS;
constexpr kj::Duration LAST_AGAIN = 10 * kj::SECONDS;

// A store that is cleared, since the state has gone elsewhere, loses this first of all.
bool dropsCluster(capnp::List<schema::Op>::Reader ops) {
  for (auto op : ops) {
    if (op.isDelete() && op.getKind() == "cluster") return true;
  }
  return false;
}

}  // namespace

class StateReplica::Sink final : public schema::ChangeSink::Server {
 public:
  explicit Sink(kj::Own<Link> link) : link(kj::mv(link)) {}
  ~Sink() noexcept(false) {
    KJ_IF_MAYBE (replica, link->replica) replica->lost("the store tells nothing more");
  }
  kj::Promise<void> changes(ChangesContext context) override {
    KJ_IF_MAYBE (replica, link->replica) {
      auto params = context.getParams();
      replica->take(params.getRevision(), params.getOps());
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> resync(ResyncContext) override {
    KJ_IF_MAYBE (replica, link->replica) replica->lost("its change records are gone");
    return kj::READY_NOW;
  }

 private:
  kj::Own<Link> link;
};

StateReplica::StateReplica(Env& env, Host& host, Manager& manager, kj::StringPtr store,
                           kj::Duration timeout, Manager::Check check)
    : env(env),
      host(host),
      manager(manager),
      name(kj::str(store)),
      service(host.service<schema::Store>(store)),
      client(env, service, timeout),
      check(kj::mv(check)) {
  link->replica = *this;
  running = run().promise().eagerlyEvaluate([this](kj::Exception&& e) {
    this->host.log().error("manager.copy-ended", {{"reason", plainText(e)}});
  });
}

StateReplica::~StateReplica() noexcept(false) { link->replica = nullptr; }

Task<void> StateReplica::run() {
  std::string told;
  for (auto pause = FIRST_AGAIN;;) {
    auto outcome = co_await attempt(followOnce());
    if (reached > 0) pause = FIRST_AGAIN;
    reached = 0;
    failure = outcome.ok() ? kj::String() : kj::str(outcome.message());
    if (!outcome.ok() && told != outcome.message().cStr()) {
      told = outcome.message().cStr();
      host.log().warn("manager.copy-failed, trying again", {{"reason", outcome.message()}});
    }
    co_await env.timer().afterDelay(pause);
    pause = kj::min(pause * 2, LAST_AGAIN);
  }
}

// Until it cannot be followed any more.
Task<void> StateReplica::followOnce() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  Manager::Check whether = [this](const State& state, uint64_t epoch) { check(state, epoch); };
  auto from = co_await manager.copy(client, kj::mv(whether));
  ended = kj::mv(pair.fulfiller);
  reached = from;
  failure = kj::String();
  auto request = service.followRequest();
  request.setFrom(from);
  request.setSink(kj::heap<Sink>(kj::addRef(*link)));
  auto subscription = co_await request.send();
  co_await pair.promise;
}

void StateReplica::take(uint64_t revision, capnp::List<schema::Op>::Reader ops) {
  if (reached == 0 || revision <= reached) return;
  if (dropsCluster(ops)) {
    lost("the state has gone elsewhere");
    return;
  }
  auto taken = attemptNow([&] { manager.learn(revision, ops); });
  if (!taken.ok()) {
    lost(taken.message());
    return;
  }
  reached = revision;
  wake();
}

void StateReplica::wake() {
  KJ_IF_MAYBE (waiting, moved) (*waiting)->fulfill();
  moved = nullptr;
}

Task<bool> StateReplica::reach(uint64_t revision) {
  bool goesOn = true;
  while (goesOn && reached > 0 && reached < revision) {
    auto before = reached;
    auto pair = kj::newPromiseAndFulfiller<void>();
    moved = kj::mv(pair.fulfiller);
    auto late = env.timer().afterDelay(PATIENCE);
    co_await pair.promise.exclusiveJoin(kj::mv(late));
    goesOn = reached != before;
  }
  co_return reached == revision;
}

void StateReplica::lost(kj::StringPtr why) {
  reached = 0;
  wake();
  KJ_IF_MAYBE (waiting, ended) {
    (*waiting)->reject(
        kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::str(why)));
  }
  ended = nullptr;
}

}  // namespace orch::control::manager
