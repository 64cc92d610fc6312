// What tasks hold: reservations and host ports of nodes, and how many of a service are where.
// Counted up and down task by task; a second table of differences lies over the first while a pass
// decides.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "orch/generic-resources.h"
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

// What tasks have of the kinds of things that a node counts or names, by kind. What comes to
// nothing is no entry.
struct GenericHeld {
  int64_t amount = 0;
  std::map<std::string, int64_t, std::less<>> names;  // of a set
  bool operator==(const GenericHeld&) const = default;
};
using GenericUsage = std::map<std::string, GenericHeld, std::less<>>;
void addGeneric(GenericUsage& usage, GenericResources::Reader resources, int sign);
// How much of that kind nobody has; 0 also where more is held than there is, since the node came
// back with less.
uint64_t freeOf(GenericResources::Reader resources, const GenericUsage& usage,
                std::string_view kind);

struct NodeUsage {
  int64_t cpuNanos = 0;                   // reserved by tasks that have not ended
  int64_t memoryBytes = 0;                // the same
  int64_t wanted = 0;                     // tasks that should run there
  GenericUsage generic;                   // of tasks that have not ended
  std::map<uint32_t, int64_t> hostPorts;  // mode=host with a fixed published port
};

struct ServiceUsage {
  struct OnNode {
    int32_t wanted = 0;
    int32_t running = 0;
  };
  using ByNode = std::vector<std::pair<uint32_t, OnNode>>;
  ByNode byNode;        // by the node's number, in order: gone through for every group of tasks
  int64_t running = 0;  // the sum of those
  int64_t unplaced = 0;
  int64_t tasks = 0;
  OnNode on(uint32_t node) const {
    auto it = placeOf(node);
    return it != byNode.end() && it->first == node ? it->second : OnNode{};
  }
  // Where it is, or would be.
  ByNode::const_iterator placeOf(uint32_t node) const {
    return std::lower_bound(byNode.begin(), byNode.end(), node,
                            [](auto& entry, uint32_t number) { return entry.first < number; });
  }
};

class UsageTable final {
 public:
  // Adds (`sign` 1) or takes away (-1) what a task holds. `node`: the number of its node, if it has
  // one.
  void count(const TaskReader& task, uint32_t node, int sign);
  const NodeUsage& node(uint32_t number) const;
  const ServiceUsage& service(std::string_view id) const;
  const std::map<std::string, ServiceUsage, std::less<>>& allServices() const { return services; }

 private:
  void countOnNode(const TaskReader& task, uint32_t number, ServiceUsage& service, int sign);
  std::unordered_map<uint32_t, NodeUsage> nodes;  // by number
  std::map<std::string, ServiceUsage, std::less<>> services;
  NodeUsage noNode;
  ServiceUsage noService;
};

}  // namespace orch::control::manager
