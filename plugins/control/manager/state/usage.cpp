#include "state/usage.h"

#include <algorithm>

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

void addGeneric(GenericUsage& usage, GenericResources::Reader resources, int sign) {
  for (auto resource : resources) {
    auto it = usage.try_emplace(text(resource.getKind())).first;
    it->second.amount += sign * static_cast<int64_t>(resource.getAmount());
    for (auto name : resource.getNames()) add(it->second.names, text(name), sign);
    if (it->second == GenericHeld{}) usage.erase(it);
  }
}

uint64_t freeOf(GenericResources::Reader resources, const GenericUsage& usage,
                std::string_view kind) {
  auto it = usage.find(kind);
  int64_t held = it == usage.end() ? 0 : it->second.amount;
  return static_cast<uint64_t>(
      std::max<int64_t>(0, static_cast<int64_t>(amountOf(resources, kind)) - held));
}

void UsageTable::count(const TaskReader& task, uint32_t node, int sign) {
  auto it = services.try_emplace(text(task.getServiceId())).first;
  auto& service = it->second;
  service.tasks += sign;
  if (isUnplaced(task)) service.unplaced += sign;
  if (isAssigned(task)) countOnNode(task, node, service, sign);
  if (service.tasks == 0 && service.unplaced == 0 && service.byNode.empty()) services.erase(it);
}

void UsageTable::countOnNode(const TaskReader& task, uint32_t number, ServiceUsage& service,
                             int sign) {
  if (isTerminal(task)) return;
  auto& node = nodes[number];
  auto resources = task.getSpec().getResources();
  node.cpuNanos += sign * static_cast<int64_t>(resources.getReserveCpuNanos());
  node.memoryBytes += sign * static_cast<int64_t>(resources.getReserveMemoryBytes());
  addGeneric(node.generic, task.getGeneric(), sign);
  for (auto port : task.getPorts()) {
    if (port.getMode() == schema::PortSpec::PublishMode::HOST && port.getPublished() != 0) {
      add(node.hostPorts, portKey(port.getProtocol(), port.getPublished()), sign);
    }
  }
  if (!isWanted(task)) return;
  node.wanted += sign;
  auto& counts = service.byNode;
  auto there = counts.begin() + (service.placeOf(number) - counts.begin());
  if (there == counts.end() || there->first != number) there = counts.insert(there, {number, {}});
  auto& [wanted, running] = there->second;
  wanted += sign;
  if (isRunning(task)) {
    running += sign;
    service.running += sign;
  }
  if (wanted == 0 && running == 0) service.byNode.erase(there);
}

const NodeUsage& UsageTable::node(uint32_t number) const {
  auto it = nodes.find(number);
  return it == nodes.end() ? noNode : it->second;
}

const ServiceUsage& UsageTable::service(std::string_view id) const {
  auto it = services.find(id);
  return it == services.end() ? noService : it->second;
}

}  // namespace orch::control::manager
