#include "decide/reconcile.h"

#include "decide/reaper.h"
#include "decide/replicated-reconciler.h"
#include "decide/restart-supervisor.h"
#include "decide/updater.h"

namespace orch::control::manager {

namespace {
constexpr int MAX_ROUNDS = 4;  // of the updater in one pass; each one sees what the last did
constexpr size_t MAX_FORGOTTEN_PER_PASS = 256;

void removeTasks(View& view, std::string_view serviceId) {
  for (auto& slot : view.slots(serviceId)) {
    for (auto& task : slot.tasks) setDesired(view, task, schema::TaskState::REMOVE);
  }
}
}  // namespace

bool reconcileService(View& view, std::string_view serviceId) {
  bool unfinished = false;
  KJ_IF_MAYBE (service, view.service(serviceId)) {
    auto slots = view.slots(serviceId);
    if (superviseRestarts(view, *service, slots)) slots = view.slots(serviceId);
    auto replication = reconcileReplicas(view, *service, slots);
    if (replication.changed) slots = view.slots(serviceId);
    unfinished = replication.unfinished;
    for (int round = 0; round < MAX_ROUNDS; ++round) {
      auto current = KJ_ASSERT_NONNULL(view.service(serviceId));
      if (!advanceUpdate(view, current, slots)) break;
      slots = view.slots(serviceId);
    }
  } else {
    removeTasks(view, serviceId);
  }
  reap(view, view.slots(serviceId), view.leaving(serviceId));
  return unfinished;
}

int64_t reconcileNodes(View& view, int64_t orphanAfterNs) {
  int64_t againNs = NEVER_NS;
  for (auto node : view.nodes()) {
    if (node.getState() != schema::Node::State::DOWN) continue;
    int64_t orphanNs = node.getMeta().getUpdatedAtNs() + orphanAfterNs;
    if (view.now() < orphanNs) {
      againNs = std::min(againNs, orphanNs);
      continue;
    }
    for (auto& id : view.base().tasksOf(manager::view(node.getMeta().getId()))) {
      KJ_IF_MAYBE (task, view.task(id)) {
        if (isTerminal(*task)) continue;
        view.editTask(*task, [&](schema::Task::Builder changed) {
          changed.getStatus().setState(schema::TaskState::ORPHANED);
          changed.getStatus().setAtNs(view.now());
          changed.getStatus().setMessage("its node has been down for too long");
        });
      }
    }
  }
  return againNs;
}

int64_t forgetRequests(View& view, int64_t memoryNs, size_t memoryCount) {
  auto& requests = view.base().requestsByAge();
  size_t surplus = requests.size() > memoryCount ? requests.size() - memoryCount : 0;
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

}  // namespace orch::control::manager
