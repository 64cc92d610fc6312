#include "decide/reconcile.h"

#include <span>

#include "decide/drainer.h"
#include "decide/job.h"
#include "decide/node-health.h"
#include "decide/reaper.h"
#include "decide/restart-supervisor.h"
#include "decide/slot-reconciler.h"
#include "decide/updater.h"

namespace orch::control::manager {

namespace {
constexpr int MAX_ROUNDS = 4;  // of one reconciler in one pass; each one sees what the last did
constexpr size_t MAX_FORGOTTEN_PER_PASS = 256;
// Of one step: slots that are looked at, objects that are changed.
constexpr size_t LOOKS_AT_ONCE = 500;
constexpr size_t CHANGES_AT_ONCE = 64;

// Of a service that is gone.
class Remover final : public Reconciler {
 public:
  explicit Remover(View& view) : view(view) {}
  void look(const Slot& slot) override {
    for (auto& task : slot.tasks) {
      step.unfinished = removed == MAX_CHANGED_PER_PASS;
      if (step.unfinished) return;
      setDesired(view, task, schema::TaskState::REMOVE);
      ++removed;
    }
  }
  Step result() const override {
    Step result = step;
    result.changed = true;
    return result;
  }

 private:
  View& view;
  uint32_t removed = 0;
  Step step;
};

kj::Own<Reconciler> reapSlots(View& view, schema::Service::Reader) { return reap(view); }

// What happens to a service, in this order.
using Begin = kj::Own<Reconciler> (*)(View&, schema::Service::Reader);
constexpr Begin RECONCILERS[] = {superviseRestarts, reconcileSlots, retireReplaced, dropOvertaken,
                                 advanceUpdate,     drainNodes,     reapSlots};
constexpr Begin JOB_RECONCILERS[] = {keepSchedule, endPastRuns, superviseRestarts, reconcileSlots,
                                     drainNodes,   concludeRun, reapSlots};

std::span<const Begin> reconcilersOf(const Mode& mode) {
  if (mode.job) return JOB_RECONCILERS;
  return RECONCILERS;
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
constexpr int64_t (*BY_CONCERN[])(View&, Config::Reader, std::string_view) = {
    runNode, runRequests, nullptr, nullptr, nullptr};
}  // namespace

ServicePass::ServicePass(View& view, std::string_view id, Extent extent)
    : view(view), serviceId(id), extent(extent) {
  auto stored = view.base().slots(serviceId);
  bool removes = view.service(serviceId) == nullptr && stored != nullptr &&
                 (stored->settled() > 0 || stored->anyCompleted());
  if (removes) this->extent = Extent::ALL;
  read();
}

bool ServicePass::step() {
  if (reader) {
    if (reader->read()) return true;
    slots = reader->take();
    reader.reset();
    return true;
  }
  if (reconciler == nullptr) return begin();
  if (!work()) finish();
  return true;
}

// False if there is none left.
bool ServicePass::begin() {
  looked = 0;
  KJ_IF_MAYBE (service, view.service(serviceId)) {
    // A mode that this version does not have is left alone.
    auto mode = modeOf(service->getSpec());
    if (mode == nullptr) return false;
    auto reconcilers = reconcilersOf(*mode);
    if (next == reconcilers.size()) return false;
    // A slot that is settled may keep more than that.
    bool reaps = reconcilers[next] == reapSlots;
    if (reaps && extent != Extent::ALL && historyLimit(view) < SETTLED_TASKS) {
      readAll();
    } else {
      reconciler = reconcilers[next](view, *service);
    }
    return true;
  }
  if (next == 2) return false;
  reconciler = next == 0 ? kj::Own<Reconciler>(kj::heap<Remover>(view)) : reap(view);
  return true;
}

// Some of what the reconciler has to do; false when that was all.
bool ServicePass::work() {
  auto& now = *KJ_ASSERT_NONNULL(reconciler);
  size_t until = view.changes().size() + CHANGES_AT_ONCE;
  for (size_t i = 0; i < LOOKS_AT_ONCE && view.changes().size() < until; ++i) {
    if (looked < slots.size()) {
      now.look(slots[looked++]);
    } else if (!now.act(slots)) {
      return false;
    }
  }
  return true;
}

void ServicePass::finish() {
  auto done = KJ_ASSERT_NONNULL(reconciler)->result();
  reconciler = nullptr;
  if (done.wantsAll) return readAll();
  unfinished |= done.unfinished;
  if (done.changed) read();
  bool again = done.again && !done.unfinished && ++round < MAX_ROUNDS;
  if (again) return;
  round = 0;
  ++next;
}

void ServicePass::read() { reader.emplace(view, serviceId, extent); }

void ServicePass::readAll() {
  extent = Extent::ALL;
  read();
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
  bool spreads = settings.getScheduler() == "scheduler.spread";
  if (key.concern == Concern::REBALANCE) rebalancing.emplace(view, spreads);
}

bool Reconciliation::step() {
  if (rebalancing) {
    bool more = rebalancing->step();
    if (!more) nextNs = rebalancing->againNs();
    return more;
  }
  if (!service) {
    nextNs = BY_CONCERN[static_cast<size_t>(key.concern)](view, settings, key.id);
    return false;
  }
  if (service->step()) return true;
  nextNs = service->isUnfinished() ? view.now() : NEVER_NS;
  return false;
}

}  // namespace orch::control::manager
