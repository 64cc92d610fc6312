#include "serve/node-progress.h"

#include "decide/updater.h"

namespace orch::control::manager {

namespace {

// What the first slot of the service says that should have got a task elsewhere and has not.
std::string whyNotMoved(const View& view, const std::string& serviceId) {
  for (auto& slot : view.slots(serviceId)) {
    auto task = representative(slot);
    bool waits = isWanted(task) && !isRunning(task) && task.getStatus().getError().size() > 0;
    if (!waits) continue;
    return "task " + text(task.getServiceName()) + "." + nameOf(slot.key) + ": " +
           text(task.getStatus().getError());
  }
  return {};
}

}  // namespace

void describeNodeProgress(const View& view, std::string_view nodeId,
                          schema::NodeProgress::Builder progress) {
  KJ_IF_MAYBE (node, view.node(nodeId)) {
    progress.setAvailability(node->getAvailability());
    progress.setState(view.base().stateOf(*node));
  }
  uint32_t left = 0;
  uint32_t waiting = 0;
  std::set<std::string> services;
  for (auto& id : view.base().tasksOf(nodeId)) {
    KJ_IF_MAYBE (task, view.task(id)) {
      if (isTerminal(*task) || !isAssigned(*task)) continue;
      ++left;
      if (!isWanted(*task)) continue;
      ++waiting;
      services.insert(text(task->getServiceId()));
    }
  }
  progress.setLeft(left);
  progress.setWaiting(waiting);
  for (auto& serviceId : services) {
    auto why = whyNotMoved(view, serviceId);
    if (why.empty()) continue;
    progress.setProblem(why.c_str());
    return;
  }
}

}  // namespace orch::control::manager
