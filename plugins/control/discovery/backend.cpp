#include "backend.h"

#include <kj/debug.h>

#include "orch/attempt.h"

namespace orch::control::discovery {

namespace {

using Kind = kj::Exception::Type;
constexpr uint32_t MAX_ENTRIES = 10'000;  // of the kind

kj::Duration backOff(uint32_t failures, kj::Duration most) {
  return kj::min(most, (1 << kj::min(failures - 1, 12u)) * kj::SECONDS);
}

}  // namespace

class Backend::Sink final : public schema::DiscoverySink::Server {
 public:
  explicit Sink(kj::Own<Backend> backend) : backend(kj::mv(backend)) {}

  kj::Promise<void> entries(EntriesContext context) override {
    auto list = context.getParams().getEntries();
    if (list.size() > MAX_ENTRIES) {
      backend->setError("it names more than 10,000 hosts; none of them counts");
      return kj::READY_NOW;
    }
    backend->setError("");
    KJ_IF_MAYBE (owner, backend->owner) owner->answered(backend->name, list);
    return kj::READY_NOW;
  }
  kj::Promise<void> failed(FailedContext context) override {
    backend->setError(context.getParams().getReason());
    return kj::READY_NOW;
  }

 private:
  kj::Own<Backend> backend;
};

Backend::Backend(Env& env, Host& host, BackendOwner& owner, kj::String name, BeatTimes times)
    : env(env), host(host), owner(owner), name(kj::mv(name)), times(times) {}

void Backend::start() {
  following = guarded(follow());
  beating = guarded(beat());
}

kj::Promise<void> Backend::guarded(Task<void> task) {
  return kj::mv(task).promise().eagerlyEvaluate(
      [this](kj::Exception&& e) { setError(e.getDescription()); });
}

void Backend::end() {
  owner = nullptr;
  following = nullptr;
  beating = nullptr;
  unregistering = nullptr;
}

void Backend::announceAgain() {
  if (beatNow.get() != nullptr) beatNow->fulfill();
}

void Backend::setError(kj::StringPtr text) {
  if (error == text) return;
  if (owner == nullptr) return;
  if (text.size() > 0) {
    host.log().warn("discovery.backend-failed", {{"backend", name}, {"reason", text}});
  } else {
    host.log().info("discovery backend answers again", {{"backend", name}});
  }
  error = kj::str(text);
}

void Backend::describe(schema::DiscoveryBackend::Builder status) const {
  status.setName(name);
  status.setError(error);
  status.setWritable(writable);
  status.setRegisterError(registerError);
}

kj::Duration Backend::jittered(kj::Duration about) {
  return about * 9 / 10 + about / 5 * static_cast<int64_t>(env.random() % 1000) / 1000;
}

// Whether the manifest has it. If it only does not run yet, this waits.
Task<bool> Backend::isThere() {
  auto request = host.client().serviceRequest();
  request.setName(name);
  auto found = co_await attempt(request.send());
  co_return found.ok() || found.error().getType() != Kind::FAILED;
}

Task<void> Backend::follow() {
  for (uint32_t failures = 1;; ++failures) {
    bool there = co_await isThere();
    if (!there) {
      KJ_IF_MAYBE (told, owner) told->gone(name);
      co_return;
    }
    auto request = client().watchRequest();
    request.setSink(kj::heap<Sink>(kj::addRef(*this)));
    auto begun = env.timer().now();
    auto ended = co_await attempt(request.send());
    auto type = ended.ok() ? Kind::DISCONNECTED : ended.error().getType();
    if (type == Kind::UNIMPLEMENTED) co_return;  // nothing to be watched: it may take entries
    setError(ended.ok() ? "it has ended the watch"_kj : ended.message());
    if (env.timer().now() - begun > RETRY) failures = 1;
    co_await env.timer().afterDelay(backOff(failures, RETRY));
  }
}

Task<void> Backend::beat() {
  uint32_t failures = 0;
  while (writable) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    beatNow = kj::mv(pair.fulfiller);
    kj::Promise<void> due = kj::NEVER_DONE;
    if (isAnnounced()) {
      co_await registerOnce();
      failures = registerError.size() == 0 ? 0 : failures + 1;
      due = env.timer().afterDelay(
          jittered(failures == 0 ? times.heartbeat : backOff(failures, times.heartbeat)));
    }
    due = due.exclusiveJoin(kj::mv(pair.promise));
    co_await due;
  }
}

bool Backend::isAnnounced() {
  KJ_IF_MAYBE (to, owner) return to->announced() != nullptr;
  return false;
}

// Plain functions: g++ 12 fails on macros with statements in a coroutine.
Backend::Registration Backend::registration() {
  auto request = client().registerRequest();
  request.setEntry(KJ_ASSERT_NONNULL(KJ_ASSERT_NONNULL(owner).announced()));
  request.setTtlMs(times.ttlMs);
  return request;
}

Task<void> Backend::registerOnce() {
  auto request = registration();
  auto outcome = co_await attempt(request.send());
  if (outcome.ok()) {
    registerError = nullptr;
    co_return;
  }
  if (outcome.error().getType() == Kind::UNIMPLEMENTED) {
    writable = false;
    registerError = nullptr;
    co_return;
  }
  if (registerError != outcome.message()) {
    host.log().warn("discovery.register-failed",
                    {{"backend", name}, {"reason", outcome.message()}});
  }
  registerError = kj::str(outcome.message());
}

// It would go by itself when its time is over; a failure changes nothing.
void Backend::unregister(kj::String address) {
  if (!writable) return;
  auto request = client().unregisterRequest();
  request.setAddress(address);
  unregistering = request.send().ignoreResult().eagerlyEvaluate([](kj::Exception&&) { return; });
}

}  // namespace orch::control::discovery
