// How the manager gets its state and the lead.
#include <kj/debug.h>

#include <algorithm>

#include "manager.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {

// What is being loaded. Shared by the loading and the store, which may go on with its calls after
// that was given up.
struct Incoming final : public kj::Refcounted {
  State state;
};

class Loader final : public schema::ObjectSink::Server {
 public:
  explicit Loader(kj::Own<Incoming> incoming)
      : incoming(kj::mv(incoming)), state(this->incoming->state) {}
  kj::Promise<void> objects(ObjectsContext context) override {
    for (auto object : context.getParams().getObjects()) {
      // Kinds that a later version added are left alone.
      KJ_IF_MAYBE (kind, kindNamed(object.getKind())) {
        auto words = attemptNow([&] { return checkedWords(*kind, object.getValue()); });
        if (!words.ok()) {
          fail(kj::str("cannot read ", object.getKind(), " '", object.getKey(),
                       "' of the cluster's state: ", words.message()));
        }
        state.apply(Key{*kind, text(object.getKey())}, Change{kj::mv(words.value())},
                    object.getRevision());
      }
    }
    return kj::READY_NOW;
  }

 private:
  kj::Own<Incoming> incoming;
  State& state;
};

}  // namespace

Task<void> Manager::load() {
  auto limits = co_await store.limitsRequest().send();
  storeLimits = StoreLimits{limits.getMaxOps(), limits.getMaxBytes()};
  KJ_REQUIRE(storeLimits.maxOps >= 2, "the store takes too few operations in one batch",
             storeLimits.maxOps);
  // Beside the state that is read meanwhile.
  auto incoming = kj::refcounted<Incoming>();
  auto loading = store.loadRequest();
  loading.setSink(kj::heap<Loader>(kj::addRef(*incoming)));
  auto loaded = co_await loading.send();
  incoming->state.revision = loaded.getRevision();

  auto electing = store.electRequest();
  electing.setCandidate(host.node().id);
  electing.setExpectedEpoch(loaded.getEpoch());
  auto elected = co_await electing.send();
  if (!elected.getWon()) {
    fail(kj::str("cannot lead the cluster: '", elected.getLeader(), "' leads it (epoch ",
                 elected.getEpoch(), "); a store has one manager at a time"));
  }
  incoming->state.newestStampNs = std::max(incoming->state.newestStampNs, current.newestStampNs);
  current = kj::mv(incoming->state);
  currentEpoch = elected.getEpoch();
  leading = true;
  notLeading = nullptr;

  dirty.clear();
  wakes.clear();
  waiting.clear();
  retryAll = true;
  nodesAgainNs = 0;
  requestsAgainNs = 0;
  for (auto& service : current.all(Kind::SERVICE)) dirty.insert(service.first);
  for (auto& entry : current.tasksByService()) dirty.insert(entry.first);
  for (auto observer : observers) observer->reloaded();
  poke();
}

}  // namespace orch::control::manager
