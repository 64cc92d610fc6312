#include "serve/obstacles.h"

#include "decide/updater.h"
#include "schedule/placement.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr uint32_t FAILURES_TO_TELL = 3;

constexpr int64_t STAYS_NS = 5'000 * NS_PER_MS;  // docker's time to see that a task stays up

bool fellAtOnce(const TaskReader& task) {
  auto state = task.getStatus().getState();
  bool ended = state == TaskState::FAILED || state == TaskState::REJECTED ||
               (state == TaskState::COMPLETE && !endedWell(task));
  bool ran = task.runningAtNs() != 0;
  return ended && (!ran || task.endedAtNs() - task.runningAtNs() < STAYS_NS);
}

NodeUsage without(NodeUsage usage, const TaskReader& task) {
  constexpr uint32_t NODE = 0;  // the only one
  UsageTable table;
  table.count(task, NODE, 1);
  auto& held = table.node(NODE);
  usage.cpuNanos -= held.cpuNanos;
  usage.memoryBytes -= held.memoryBytes;
  usage.wanted -= held.wanted;
  addGeneric(usage.generic, task.getGeneric(), -1);
  for (auto& port : held.hostPorts) usage.hostPorts[port.first] -= port.second;
  return usage;
}
}  // namespace

std::string whyNeverStays(CurrentSpec& current, const Slot& slot) {
  int64_t sinceNs = current.service().getSpecAtNs();
  std::string why;
  bool ran = false;
  uint32_t failures = 0;
  for (auto task = slot.tasks.rbegin(); task != slot.tasks.rend(); ++task) {
    if (isRunning(*task)) return {};
    if (!isTerminal(*task)) continue;
    bool counts = fellAtOnce(*task) && current.matches(*task) &&
                  task->getMeta().getCreatedAtNs() >= sinceNs &&
                  task->getIteration() == slot.tasks.back().getIteration();
    if (!counts) return {};
    auto status = task->getStatus();
    if (failures == 0) {
      why = text(status.getError().size() > 0 ? status.getError() : status.getMessage());
      ran = task->runningAtNs() != 0;
      if (ran && why.empty()) why = "task: exit (0)";
    }
    if (++failures < FAILURES_TO_TELL) continue;
    if (!ran) return why;
    return why + ", three times in a row within 5 s of its start; what it wrote: 'orch service " +
           "logs " + text(current.service().getSpec().getName()) + "'";
  }
  return {};
}

std::string whyOldIsInTheWay(const View& view, schema::Service::Reader service, const Slot& slot,
                             Room& room) {
  auto task = representative(slot);
  bool refused = isUnplaced(task) && task.getStatus().getError().size() > 0;
  if (!refused || slot.tasks.size() < 2) return {};
  auto old = slot.tasks.end();
  for (auto it = slot.tasks.begin(); it != slot.tasks.end(); ++it) {
    if (isRunning(*it)) old = it;
  }
  if (old == slot.tasks.end()) return {};
  auto id = manager::view(service.getMeta().getId());
  auto spec = service.getSpec().getTask();
  auto ports = service.getPorts();
  if (slot.key.number > 0 && room.any()) return {};
  auto nodeId = text(old->getNodeId());
  KJ_IF_MAYBE (node, view.node(nodeId)) {
    auto usage = without(view.nodeUsage(nodeId), *old);
    if (canTake(view, id, *node, spec, ports, usage, view.wantedOn(id, nodeId) - 1)) {
      return text(task.getStatus().getError()) +
             ": only the task that it replaces is in the way; --update-order stop-first stops "
             "that one before";
    }
  }
  return {};
}

}  // namespace orch::control::manager
