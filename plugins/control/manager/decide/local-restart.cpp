#include "decide/local-restart.h"

#include <algorithm>

#include "decide/node-health.h"
#include "decide/slot-rules.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
// A node's clock may be wrong: its task begins within the longest delay that its policy has.
constexpr int64_t LONGEST_BACKOFF_NS = 30'000 * NS_PER_MS;

// The newest task that should run in the slot of this one, if that is a task of the same node that
// the restart follows: this one itself, or one of the same spec that the node had made by itself,
// and of which it says nothing more since it has ended as well. One that a manager has made in its
// place is none of these: whatever node it is for.
kj::Maybe<TaskReader> predecessor(const View& view, const TaskReader& named, uint32_t restarts) {
  // Of this slot alone: a service may have thousands, and a node say something of each.
  TaskReader newest = named;
  bool any = isWanted(named);
  if (auto slots = view.base().slots(manager::view(named.getServiceId()))) {
    auto slot = slots->find(named.slot());
    if (slot == nullptr) return nullptr;
    for (auto object : slot->tasks) {
      KJ_IF_MAYBE (task, view.task(TaskReader(*object).id())) {
        bool newer = !any || task->getMeta().getCreatedAtNs() > newest.getMeta().getCreatedAtNs();
        if (!isWanted(*task) || !newer) continue;
        newest = *task;
        any = true;
      }
    }
  }
  if (!any) return nullptr;
  bool follows = newest.getByNode() && newest.getRestartOf() == named.getMeta().getId() &&
                 newest.getNodeId() == named.getNodeId() &&
                 newest.getSpecVersion() == named.getSpecVersion() &&
                 newest.getRestarts() < restarts;
  if (follows || newest.id() == named.id()) return newest;
  return nullptr;
}

void noteEnd(View& view, std::string_view nodeId, const TaskReader& ended,
             schema::LocalRestart::Reader restart) {
  if (restart.getEnded().getTaskId() == ended.getMeta().getId()) {
    mergeReport(view, nodeId, restart.getEnded());
  }
  if (isTerminal(KJ_ASSERT_NONNULL(view.task(ended.id())))) return;
  view.editStatus(ended, [&](schema::TaskStatus::Builder status) {
    status.setState(TaskState::FAILED);
    status.setAtNs(view.now());
    status.setEndedAtNs(view.now());
    status.setMessage("ended while its node was cut off");
  });
}

void createNext(View& view, const TaskReader& ended, std::string_view id,
                schema::LocalRestart::Reader restart) {
  auto next = restart.getNext().getStatus().getState();
  int64_t delayNs =
      std::max(LONGEST_BACKOFF_NS, ended.getSpec().getRestart().getDelayMs() * NS_PER_MS);
  auto& old = ended;
  view.createAs<schema::Task>(Key{Kind::TASK, std::string(id)}, [&](schema::Task::Builder task) {
    task.setServiceId(old.getServiceId());
    task.setServiceName(old.getServiceName());
    task.setSlot(old.slot().number);
    task.setNodeId(old.getNodeId());
    task.setSpec(old.getSpec());
    task.setSpecVersion(old.getSpecVersion());
    task.setDesired(next < TaskState::STARTING ? TaskState::READY : TaskState::RUNNING);
    task.setPorts(old.getPorts());
    task.setLegs(old.getLegs());
    task.setGeneric(old.getGeneric());
    task.setServiceLabels(old.getServiceLabels());
    task.setRestartOf(old.getMeta().getId());
    task.setByNode(true);
    task.setStartAfterNs(std::min(restart.getStartAfterNs(), view.now() + delayNs));
    task.setIteration(old.getIteration());
    task.setRestarts(std::max(restart.getRestarts(), old.getRestarts() + 1));
  });
}
}  // namespace

bool takeLocalRestart(View& view, std::string_view nodeId, schema::LocalRestart::Reader restart) {
  auto id = manager::view(restart.getNext().getTaskId());
  // Taken in before; the answer was lost.
  if (view.task(id) != nullptr) return mergeReport(view, nodeId, restart.getNext());
  if (!isFullId(id)) return false;
  KJ_IF_MAYBE (named, view.task(manager::view(restart.getEnded().getTaskId()))) {
    if (manager::view(named->getNodeId()) != nodeId) return false;
    if (view.service(manager::view(named->getServiceId())) == nullptr) return false;
    if (!isTerminal(restart.getEnded().getStatus().getState())) return false;
    KJ_IF_MAYBE (ended, predecessor(view, *named, restart.getRestarts())) {
      noteEnd(view, nodeId, *ended, restart);
      auto over = KJ_ASSERT_NONNULL(view.task(ended->id()));
      createNext(view, over, id, restart);
      setDesired(view, over, TaskState::SHUTDOWN);
      return mergeReport(view, nodeId, restart.getNext());
    }
  }
  return false;
}

}  // namespace orch::control::manager
