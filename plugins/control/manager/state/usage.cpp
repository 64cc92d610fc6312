#include "state/usage.h"

namespace orch::control::manager {

namespace {
// A count of zero is no entry.
template <typename Map, typename Key>
void add(Map& counts, const Key& key, int64_t amount) {
  auto it = counts.try_emplace(key, 0).first;
  it->second += amount;
  if (it->second == 0) counts.erase(it);
}
}  // namespace

void UsageTable::count(const TaskReader& task, int sign) {
  auto it = services.try_emplace(text(task.getServiceId())).first;
  auto& service = it->second;
  service.tasks += sign;
  if (isUnplaced(task)) service.unplaced += sign;
  if (isAssigned(task)) countOnNode(task, service, sign);
  if (service.tasks == 0 && service.unplaced == 0 && service.byNode.empty()) services.erase(it);
}

void UsageTable::countOnNode(const TaskReader& task, ServiceUsage& service, int sign) {
  if (isTerminal(task)) return;
  auto nodeId = text(task.getNodeId());
  auto& node = nodes[nodeId];
  auto resources = task.getSpec().getResources();
  node.cpuNanos += sign * static_cast<int64_t>(resources.getReserveCpuNanos());
  node.memoryBytes += sign * static_cast<int64_t>(resources.getReserveMemoryBytes());
  for (auto port : task.getPorts()) {
    if (port.getMode() == schema::PortSpec::PublishMode::HOST && port.getPublished() != 0) {
      add(node.hostPorts, portKey(port.getProtocol(), port.getPublished()), sign);
    }
  }
  if (!isWanted(task)) return;
  node.wanted += sign;
  auto there = service.byNode.try_emplace(nodeId).first;
  auto& [wanted, running] = there->second;
  wanted += sign;
  if (isRunning(task)) {
    running += sign;
    service.running += sign;
  }
  if (wanted == 0 && running == 0) service.byNode.erase(there);
}

const NodeUsage& UsageTable::node(std::string_view id) const {
  auto it = nodes.find(id);
  return it == nodes.end() ? noNode : it->second;
}

const ServiceUsage& UsageTable::service(std::string_view id) const {
  auto it = services.find(id);
  return it == services.end() ? noService : it->second;
}

}  // namespace orch::control::manager
