#include "decide/reconcile.h"

#include <iterator>

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

bool removeTasks(View& view, const Slots& slots) {
  uint32_t removed = 0;
  for (auto& slot : slots) {
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

// By concern. Null: in steps, or not here.
constexpr int64_t (*RECONCILERS[])(View&, Config::Reader, std::string_view) = {runNode, runRequests,
                                                                               nullptr, nullptr};
}  // namespace

ServicePass::ServicePass(View& view, std::string_view id, Extent extent)
    : view(view), serviceId(id), extent(extent) {
  KJ_IF_MAYBE (service, view.service(serviceId)) {
    if (modeOf(service->getSpec()) == nullptr) stage = Stage::OVER;
  } else {
    stage = Stage::REMOVE;
    this->extent = Extent::ALL;
  }
  if (stage != Stage::OVER) read();
}

bool ServicePass::step() {
  if (reader) {
    if (reader->read()) return true;
    slots = reader->take();
    reader.reset();
    return true;
  }
  switch (stage) {
    case Stage::REMOVE:
      unfinished = removeTasks(view, slots);
      stage = Stage::REAP;
      read();
      return true;
    case Stage::STEPS:
      runStep();
      return true;
    case Stage::REAP:
      if (extent != Extent::ALL && historyLimit(view) < SETTLED_TASKS) {
        readAll();
        return true;
      }
      reap(view, slots);
      stage = Stage::OVER;
      return false;
    case Stage::OVER:
      return false;
  }
  return false;
}

void ServicePass::readAll() {
  extent = Extent::ALL;
  read();
}

void ServicePass::runStep() {
  auto done = STEPS[next](view, KJ_ASSERT_NONNULL(view.service(serviceId)), slots);
  if (done.wantsAll) return readAll();
  unfinished |= done.unfinished;
  if (done.changed) read();
  bool again = done.again && !done.unfinished && ++round < MAX_ROUNDS;
  if (again) return;
  round = 0;
  if (++next == std::size(STEPS)) stage = Stage::REAP;
}

bool reconcileService(View& view, std::string_view serviceId, Extent extent) {
  ServicePass pass(view, serviceId, extent);
  while (pass.step()) {
  }
  return pass.isUnfinished();
}

Reconciliation::Reconciliation(View& view, Config::Reader settings, const DirtyKey& key)
    : view(view), settings(settings), key(key), nextNs(NEVER_NS) {
  if (key.concern == Concern::SERVICE) service.emplace(view, key.id);
}

bool Reconciliation::step() {
  if (!service) {
    nextNs = RECONCILERS[static_cast<size_t>(key.concern)](view, settings, key.id);
    return false;
  }
  if (service->step()) return true;
  nextNs = service->isUnfinished() ? view.now() : NEVER_NS;
  return false;
}

}  // namespace orch::control::manager
