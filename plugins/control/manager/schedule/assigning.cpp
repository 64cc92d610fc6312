#include "schedule/assigning.h"

#include <algorithm>

#include "decide/address-allocator.h"
#include "decide/slot-rules.h"
#include "state/events.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;

// Of what the node has what the task wants, by name the first that nobody has. It is free.
void giveResources(const View& view, schema::TaskSpec::Reader spec, const std::string& nodeId,
                   schema::Task::Builder task) {
  auto wishes = spec.getResources().getGeneric();
  if (wishes.size() == 0) return;
  auto node = KJ_ASSERT_NONNULL(view.node(nodeId));
  auto held = view.held(nodeId).generic;
  auto list = task.initGeneric(wishes.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto amount = wishes[i].getAmount();
    list[i].setKind(wishes[i].getKind());
    list[i].setAmount(amount);
    auto& taken = held[text(wishes[i].getKind())].names;
    for (auto resource : node.getDescription().getGeneric()) {
      if (resource.getKind() != wishes[i].getKind() || resource.getNames().size() == 0) continue;
      auto names = list[i].initNames(amount);
      uint32_t given = 0;
      for (auto name : resource.getNames()) {
        auto it = taken.find(manager::view(name));
        bool isFree = it == taken.end() || it->second <= 0;
        if (isFree && given < amount) names.set(given++, name);
      }
      KJ_ASSERT(given == amount, "a task was given more than is free");
    }
  }
}

// False if a network has no address for it; then the service is looked at again.
bool assignTo(View& view, const TaskReader& task, const std::string& nodeId, std::string& why) {
  std::vector<ChosenLeg> legs;
  Lack lack;
  if (!chooseLegs(view, task.getSpec(), legs, lack)) {
    why = lack.why;
    bool known = lack.untilNs > 0;
    view.wakeAt(manager::view(task.getServiceId()),
                known ? lack.untilNs : view.now() + ASK_AGAIN_NS);
    return false;
  }
  bool gets = !legs.empty() || task.getSpec().getResources().getGeneric().size() > 0;
  if (task.getNodeId().size() == 0 || gets) {
    view.editTask(task, [&](schema::Task::Builder changed) {
      changed.setNodeId(nodeId.c_str());
      giveResources(view, task.getSpec(), nodeId, changed);
      auto list = changed.initLegs(legs.size());
      for (uint32_t i = 0; i < list.size(); ++i) {
        list[i].setNetwork(legs[i].network.c_str());
        list[i].setAddress(legs[i].address.c_str());
        list[i].setAddress6(legs[i].address6.c_str());
        list[i].setInternal(legs[i].internal);
      }
    });
  }
  if (!task.hasOwnStatus()) return true;  // that it has a node says it all
  view.editStatus(task, [&](schema::TaskStatus::Builder status) {
    status.setState(TaskState::ASSIGNED);
    status.setAtNs(view.now());
    if (!isRebalanced(task)) status.setMessage(schema::ASSIGNED_STATUS->getMessage());
    status.setError("");
  });
  return true;
}

std::vector<TaskReader> waiting(const View& view, std::span<const std::string> taskIds) {
  std::vector<TaskReader> tasks;
  for (auto& id : taskIds) {
    KJ_IF_MAYBE (task, view.task(id)) {
      if (isUnplaced(*task)) tasks.push_back(*task);
    }
  }
  return tasks;
}

}  // namespace

std::map<std::string, uint32_t> recentFailures(const View& view, const Slots& slots,
                                               uint64_t specVersion) {
  std::map<std::string, uint32_t> result;
  for (auto& slot : slots) {
    bool oldest = true;
    for (auto& task : slot.tasks) {
      bool first = std::exchange(oldest, false);
      auto state = task.getStatus().getState();
      if (state != TaskState::FAILED && state != TaskState::REJECTED) continue;
      if (task.getSpecVersion() != specVersion || task.getNodeId().size() == 0) continue;
      if (task.endedAtNs() + RECENT_FAILURE_NS <= view.now()) continue;
      // The one before the oldest is forgotten, and is taken to have been like it: a slot keeps
      // fewer ended tasks than a strategy may want to see.
      result[text(task.getNodeId())] += first && task.getRestarts() > 0 ? 2 : 1;
    }
  }
  return result;
}

std::map<std::string, uint32_t> aboutToLeave(const Slots& slots) {
  std::map<std::string, uint32_t> result;
  for (auto& slot : slots) {
    bool replaced = false;
    for (auto task = slot.tasks.rbegin(); task != slot.tasks.rend(); ++task) {
      if (!isWanted(*task) || isTerminal(*task)) continue;
      if (std::exchange(replaced, true) && isAssigned(*task)) ++result[text(task->getNodeId())];
    }
  }
  return result;
}

bool explain(View& view, const TaskReader& task, const std::string& why) {
  if (manager::view(task.getStatus().getError()) == why) return false;
  view.editStatus(task, [&](schema::TaskStatus::Builder status) {
    status.setMessage("waits for a node");
    status.setError(why.c_str());
  });
  return true;
}

schema::TaskSpec::Reader specFor(const View& view, const TaskReader& task) {
  KJ_IF_MAYBE (service, view.service(manager::view(task.getServiceId()))) {
    if (service->getSpecVersion() == task.getSpecVersion()) return service->getSpec().getTask();
  }
  return task.getSpec();
}

size_t assign(View& view, NodeBook& book, const std::string& serviceId,
              std::span<const std::string> taskIds, std::span<const uint32_t> nodes,
              const std::string& strategy) {
  auto tasks = waiting(view, taskIds);
  if (tasks.empty()) return 0;
  NodeBook::Wanted wanted{serviceId, specFor(view, tasks[0]), tasks[0].getPorts()};
  book.catchUp(view);
  auto set = book.find(view, wanted.spec);
  while (set == nullptr) set = book.find(view, wanted.spec);
  size_t next = 0;
  size_t assigned = 0;
  bool wrong = false;
  std::string lacking;  // but for a node
  for (auto& task : tasks) {
    bool placed = false;
    // What was assigned is a neighbour of the next.
    Neighbours neighbours(view, wanted.serviceId, wanted.spec);
    while (!placed && next < nodes.size()) {
      auto node = nodes[next++];
      placed = book.refusal(view, *set, wanted, node, neighbours) == nullptr;
      wrong |= !placed;
      if (placed && !assignTo(view, task, view.idOf(node), lacking)) break;
      assigned += placed;
      book.catchUp(view);
    }
    if (!lacking.empty()) break;
  }
  if (assigned == tasks.size()) return assigned;
  auto left = waiting(view, taskIds);
  if (left.empty()) return assigned;
  auto why = lacking;
  if (why.empty()) {
    auto candidates = book.explain(view, *set, wanted);
    bool again = wrong && !candidates.nodes.empty();
    if (again) view.wakeAt(serviceId, view.now() + ASK_AGAIN_NS);
    why = again ? "the strategy '" + strategy + "' chose nodes that cannot take the task"
                : whyNone(candidates);
  }
  for (auto& task : left) explain(view, task, why);
  return assigned;
}

void assignToOwn(View& view, const TaskReader& task) {
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    auto spec = specFor(view, task);
    auto why = whyNot(view, manager::view(task.getServiceId()), *node, spec, task.getPorts());
    bool waits = mayMeetTerms(view, *node, spec) && !unmetTerm(view, *node, spec).empty();
    if (waits) return void(explain(view, task, why));
    if (why.empty()) assignTo(view, task, text(task.getNodeId()), why);
    if (!why.empty()) explain(view, task, why);
    if (!why.empty() && task.slot().number > 0) setDesired(view, task, TaskState::SHUTDOWN);
  }
}

}  // namespace orch::control::manager
