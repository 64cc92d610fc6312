#include "decide/reconcile.h"

#include "decide/drainer.h"
#include "decide/node-health.h"
#include "decide/reaper.h"
#include "decide/restart-supervisor.h"
#include "decide/slot-reconciler.h"
#include "decide/updater.h"

namespace orch::control::manager {

namespace {
constexpr int MAX_ROUNDS = 4;  // of one step in one pass; each one sees what the last did
constexpr size_t MAX_FORGOTTEN_PER_PASS = 256;

// What happens to a service, in this order.
constexpr Step (*STEPS[])(View&, schema::Service::Reader, const Slots&) = {
    superviseRestarts, reconcileSlots, advanceUpdate, drainNodes};

bool removeTasks(View& view, std::string_view serviceId) {
  uint32_t removed = 0;
  for (auto& slot : view.slots(serviceId)) {
    for (auto& task : slot.tasks) {
      if (removed++ == MAX_CHANGED_PER_PASS) return true;
      setDesired(view, task, schema::TaskState::REMOVE);
    }
  }
  return false;
}

int64_t runNode(View& view, Config::Reader settings, std::string_view id) {
  return reconcileNode(view, id, settings.getOrphanAfterMs() * NS_PER_MS);
}

// Forgets request ids that are too old or too many, some per pass.
int64_t runRequests(View& view, Config::Reader settings, std::string_view) {
  auto& requests = view.base().requestsByAge();
  int64_t memoryNs = settings.getRequestMemoryMs() * NS_PER_MS;
  size_t most = settings.getRequestMemoryCount();
  size_t surplus = requests.size() > most ? requests.size() - most : 0;
  size_t forgotten = 0;
  for (auto& entry : requests) {
    bool old = entry.first + memoryNs <= view.now();
    if (!old && forgotten >= surplus) return entry.first + memoryNs;
    if (forgotten == MAX_FORGOTTEN_PER_PASS) return view.now();
    view.erase(Key{Kind::REQUEST, entry.second});
    ++forgotten;
  }
  return NEVER_NS;
}

int64_t runService(View& view, Config::Reader, std::string_view id) {
  return reconcileService(view, id) ? view.now() : NEVER_NS;
}

// By concern.
constexpr int64_t (*RECONCILERS[])(View&, Config::Reader, std::string_view) = {runNode, runRequests,
                                                                               runService, nullptr};
}  // namespace

int64_t reconcile(View& view, Config::Reader settings, const DirtyKey& key) {
  return RECONCILERS[static_cast<size_t>(key.concern)](view, settings, key.id);
}

bool reconcileService(View& view, std::string_view serviceId) {
  bool unfinished = false;
  if (view.service(serviceId) == nullptr) {
    unfinished = removeTasks(view, serviceId);
  } else {
    if (modeOf(KJ_ASSERT_NONNULL(view.service(serviceId)).getSpec()) == nullptr) return false;
    auto slots = view.slots(serviceId);
    for (auto step : STEPS) {
      bool again = true;
      for (int round = 0; again && round < MAX_ROUNDS; ++round) {
        auto done = step(view, KJ_ASSERT_NONNULL(view.service(serviceId)), slots);
        if (done.changed) slots = view.slots(serviceId);
        unfinished |= done.unfinished;
        again = done.again && !done.unfinished;
      }
    }
  }
  reap(view, view.slots(serviceId), view.leaving(serviceId));
  return unfinished;
}

}  // namespace orch::control::manager
