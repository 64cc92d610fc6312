// What tasks hold: reservations and host ports of nodes, and how many of a service are where.
// Counted up and down task by task; a second table of differences lies over the first while a pass
// decides.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "state/task-reader.h"

namespace orch::control::manager {

inline bool isTerminal(schema::TaskState state) {
  return state >= schema::TaskState::COMPLETE && state != schema::TaskState::REMOVE;
}
inline bool isTerminal(const TaskReader& task) { return isTerminal(task.getStatus().getState()); }
// Whether it should run, now or soon.
inline bool isWanted(const TaskReader& task) {
  return task.getDesired() <= schema::TaskState::RUNNING;
}
// Whether it was given to its node. Without, a task of a slot that is a node says only which.
inline bool isAssigned(const TaskReader& task) {
  return task.getNodeId().size() > 0 && task.getStatus().getState() >= schema::TaskState::ASSIGNED;
}
inline bool isUnplaced(const TaskReader& task) {
  return !isAssigned(task) && isWanted(task) && !isTerminal(task);
}
// One that has become unhealthy is being stopped: nobody is sent to it any more.
inline bool isRunning(const TaskReader& task) {
  auto status = task.getStatus();
  return status.getState() == schema::TaskState::RUNNING && isWanted(task) &&
         status.getContainer().getHealth() != schema::Health::UNHEALTHY;
}

// A port of one protocol as a key.
inline uint32_t portKey(schema::PortSpec::Protocol protocol, uint16_t port) {
  return static_cast<uint32_t>(protocol) << 16 | port;
}
inline std::pair<schema::PortSpec::Protocol, uint16_t> portOf(uint32_t key) {
  return {static_cast<schema::PortSpec::Protocol>(key >> 16), key & 0xffff};
}

// In no order.
struct IdHash {
  using is_transparent = void;
  size_t operator()(std::string_view id) const { return std::hash<std::string_view>()(id); }
};
template <typename T>
using ById = std::unordered_map<std::string, T, IdHash, std::equal_to<>>;

struct NodeUsage {
  int64_t cpuNanos = 0;                   // reserved by tasks that have not ended
  int64_t memoryBytes = 0;                // the same
  int64_t wanted = 0;                     // tasks that should run there
  std::map<uint32_t, int64_t> hostPorts;  // mode=host with a fixed published port
};

struct ServiceUsage {
  struct OnNode {
    int32_t wanted = 0;
    int32_t running = 0;
  };
  std::map<std::string, OnNode, std::less<>> byNode;
  int64_t running = 0;  // the sum of those
  int64_t unplaced = 0;
  int64_t tasks = 0;
  OnNode on(std::string_view nodeId) const {
    auto it = byNode.find(nodeId);
    return it == byNode.end() ? OnNode{} : it->second;
  }
};

class UsageTable final {
 public:
  // Adds (`sign` 1) or takes away (-1) what a task holds.
  void count(const TaskReader& task, int sign);
  const NodeUsage& node(std::string_view id) const;
  const ServiceUsage& service(std::string_view id) const;
  const std::map<std::string, ServiceUsage, std::less<>>& allServices() const { return services; }

 private:
  void countOnNode(const TaskReader& task, ServiceUsage& service, int sign);
  ById<NodeUsage> nodes;
  std::map<std::string, ServiceUsage, std::less<>> services;
  NodeUsage noNode;
  ServiceUsage noService;
};

}  // namespace orch::control::manager
