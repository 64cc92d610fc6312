#include "decide/reaper.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
void forget(View& view, const TaskReader& task) { view.erase(Key{Kind::TASK, task.id()}); }

// A job's run knows by that task that the slot has nothing more to do.
bool hasCompletedRun(const View& view, const Slot& slot) {
  return slot.tasks.back().getIteration() > 0 && hasCompleted(view, slot);
}

// A slot has so many tasks, the one that should run among them, as docker has it. The restart
// policy counts attempts within a window in the history, so that has to reach as far.
size_t historyOf(const View& view, const Slot& slot, size_t limit) {
  bool isOneOfThem = stateOf(view, slot) == SlotState::LIVE || hasCompletedRun(view, slot);
  if (limit > 0 && isOneOfThem) --limit;
  auto policy = slot.tasks.back().getSpec().getRestart();
  if (policy.getWindowMs() == 0) return limit;
  return std::max<size_t>(limit, policy.getMaxAttempts() + 1);
}
class Reaper final : public Reconciler {
 public:
  explicit Reaper(View& view) : view(view), limit(historyLimit(view)) {}

  void look(const Slot& slot) override {
    if (slot.tasks.size() < 2) return;
    std::vector<TaskReader> ended;
    for (auto& task : slot.tasks) {
      if (isWanted(task) || completesRun(view, task)) continue;
      if (isTerminal(task)) {
        ended.push_back(task);
      } else if (!isAssigned(task)) {
        forget(view, task);
      }
    }
    size_t keep = historyOf(view, slot, limit);
    // The newest stays if nothing else says that the slot is done.
    bool told = stateOf(view, slot) == SlotState::DONE && !hasCompletedRun(view, slot);
    if (told) keep = std::max<size_t>(keep, 1);
    for (size_t i = 0; i + keep < ended.size(); ++i) forget(view, ended[i]);
  }
  bool act(const Slots& slots) override {
    if (next == slots.leaving().size()) return false;
    auto& task = slots.leaving()[next++];
    if (isTerminal(task) || !isAssigned(task)) forget(view, task);
    return true;
  }
  Step result() const override { return {}; }

 private:
  View& view;
  const size_t limit;
  size_t next = 0;  // of those that leave
};
}  // namespace

size_t historyLimit(const View& view) {
  KJ_IF_MAYBE (cluster, view.cluster()) return cluster->getTaskHistoryLimit();
  return 5;
}

kj::Own<Reconciler> reap(View& view) { return kj::heap<Reaper>(view); }

}  // namespace orch::control::manager
