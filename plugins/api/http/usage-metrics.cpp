#include "metrics.h"

namespace orch::api::http {

namespace {

using TaskUse = schema::TaskUsage::Reader;
using NodeUse = schema::NodeUsage::Reader;

std::string_view textIn(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

// Of tasks. `get`: what their node has measured, -1 if it could not.
template <typename Get>
void ofTasks(Exposition& to, const char* name, Exposition::Type type, const char* help, double unit,
             capnp::List<schema::TaskUsage>::Reader tasks, Get get) {
  to.family(name, type, help);
  for (TaskUse task : tasks) {
    int64_t value = get(task.getUsage());
    if (task.getMissing().size() > 0 || value < 0) continue;
    to.sample({{"task", textIn(task.getTask())},
               {"node", textIn(task.getNode())},
               {"id", textIn(task.getUsage().getId())}},
              static_cast<double>(value) / unit);
  }
}
template <typename Get>
void ofNodes(Exposition& to, const char* name, Exposition::Type type, const char* help, double unit,
             capnp::List<schema::NodeUsage>::Reader nodes, Get get) {
  to.family(name, type, help);
  for (NodeUse node : nodes) {
    auto value = static_cast<double>(get(node));
    if (value < 0) continue;
    to.sample({{"node", textIn(node.getNode())}, {"id", textIn(node.getId())}}, value / unit);
  }
}

}  // namespace

void describeUsage(Exposition& to, schema::ClusterControl::UsageResults::Reader usage) {
  constexpr auto GAUGES = Exposition::Type::GAUGE, COUNTERS = Exposition::Type::COUNTER;
  using Use = schema::ContainerUsage::Reader;
  auto tasks = usage.getTasks();
  ofTasks(to, "orch_task_cpu_seconds_total", COUNTERS, "Time that the task's processes ran.", 1e9,
          tasks, [](Use use) { return use.getCpuNs(); });
  ofTasks(to, "orch_task_memory_bytes", GAUGES,
          "Memory of the task, without contents of files that were not used lately.", 1, tasks,
          [](Use use) { return use.getMemoryBytes(); });
  ofTasks(to, "orch_task_memory_limit_bytes", GAUGES,
          "Memory that the task may have; without a limit what its node has.", 1, tasks,
          [](Use use) { return use.getMemoryLimitBytes(); });
  ofTasks(to, "orch_task_network_receive_bytes_total", COUNTERS,
          "Received by the task's network namespace.", 1, tasks,
          [](Use use) { return use.getReceivedBytes(); });
  ofTasks(to, "orch_task_network_transmit_bytes_total", COUNTERS,
          "Sent by the task's network namespace.", 1, tasks,
          [](Use use) { return use.getSentBytes(); });
  ofTasks(to, "orch_task_disk_read_bytes_total", COUNTERS, "Read from disks.", 1, tasks,
          [](Use use) { return use.getReadBytes(); });
  ofTasks(to, "orch_task_disk_written_bytes_total", COUNTERS, "Written to disks.", 1, tasks,
          [](Use use) { return use.getWrittenBytes(); });
  ofTasks(to, "orch_task_processes", GAUGES, "Processes and threads of the task.", 1, tasks,
          [](Use use) { return use.getPids(); });
  auto nodes = usage.getNodes();
  ofNodes(to, "orch_node_cpu_busy_seconds_total", COUNTERS,
          "Time that the node's cores were busy, with whatever.", 1e9, nodes, [](NodeUse node) {
            return node.getMissing().size() > 0 ? -1 : node.getHost().getCpuNs();
          });
  ofNodes(to, "orch_node_memory_used_bytes", GAUGES,
          "Memory of the node that cannot be given to others at once.", 1, nodes, [](NodeUse node) {
            return node.getMissing().size() > 0 ? -1 : node.getHost().getMemoryBytes();
          });
  ofNodes(to, "orch_node_cpu_reserved_cores", GAUGES, "Cores that tasks on the node have reserved.",
          1e9, nodes, [](NodeUse node) { return node.getReservedCpuNanos(); });
  ofNodes(to, "orch_node_memory_reserved_bytes", GAUGES,
          "Memory that tasks on the node have reserved.", 1, nodes,
          [](NodeUse node) { return node.getReservedMemoryBytes(); });
  to.family("orch_usage_missing", GAUGES,
            "Tasks and nodes that nothing is known of, by kind; orch stats says why.");
  uint64_t tasksMissing = 0, nodesMissing = 0;
  for (TaskUse task : tasks) tasksMissing += task.getMissing().size() > 0;
  for (NodeUse node : nodes) nodesMissing += node.getMissing().size() > 0;
  to.sample({{"kind", "task"}}, tasksMissing);
  to.sample({{"kind", "node"}}, nodesMissing);
}

}  // namespace orch::api::http
