#include "state/events.h"

namespace orch::control::manager {

kj::StringPtr stateName(schema::TaskState state) {
  static constexpr const char* NAMES[] = {"new",    "pending",  "assigned", "accepted", "preparing",
                                          "ready",  "starting", "running",  "complete", "shutdown",
                                          "failed", "rejected", "remove",   "orphaned"};
  auto index = static_cast<size_t>(state);
  return index < std::size(NAMES) ? NAMES[index] : "unknown";
}

void publishTask(Host& host, const Snapshot& before, const Snapshot& after) {
  auto tell = [&](kj::StringPtr topic, const TaskReader& task) {
    host.publish(topic, task.getMeta().getId(),
                 {{"service", task.getServiceName()},
                  {"serviceId", task.getServiceId()},
                  {"slot", nameOf(task.slot()).c_str()},
                  {"node", task.getNodeId()},
                  {"exitCode", task.getStatus().getContainer().getExitCode()},
                  {"error", task.getStatus().getError()}});
  };
  if (!after) return tell("task.removed", TaskReader(before));
  TaskReader task(after);
  auto state = task.getStatus().getState();
  if (!before) tell("task.created", task);
  if (!before && isRebalanced(task)) {
    host.publish("task.rebalanced", task.getMeta().getId(),
                 {{"service", task.getServiceName()},
                  {"slot", nameOf(task.slot()).c_str()},
                  {"node", task.getNodeId()},
                  {"reason", task.getStatus().getMessage().slice(REBALANCED.size())}});
  }
  auto old = before ? TaskReader(before).getStatus().getState() : schema::TaskState::PENDING;
  if (state != old) tell(kj::str("task.", stateName(state)), task);
}

void publishService(Host& host, const Snapshot& before, const Snapshot& after) {
  auto service = (after ? after : before).as<schema::Service>();
  auto topic = !after    ? "service.removed"_kj
               : !before ? "service.created"_kj
                         : "service.updated"_kj;
  host.publish(
      topic, service.getMeta().getId(),
      {{"name", service.getSpec().getName()}, {"update", service.getUpdate().getMessage()}});
}

void publishNetwork(Host& host, const Snapshot& before, const Snapshot& after) {
  if (before && after) return;
  auto network = (after ? after : before).as<schema::Network>();
  host.publish(after ? "network.created"_kj : "network.removed"_kj, network.getMeta().getId(),
               {{"name", network.getName()}, {"driver", network.getDriver()}});
}

void tellNodeState(Host& host, schema::Node::Reader node, schema::Node::State state,
                   kj::StringPtr reason) {
  static constexpr kj::StringPtr TOPICS[] = {"node.unknown"_kj, "node.ready"_kj, "node.down"_kj};
  host.publish(TOPICS[static_cast<size_t>(state)], node.getMeta().getId(),
               {{"hostname", node.getDescription().getHostname()}, {"message", reason}});
}

void publishNode(Host& host, const Snapshot& before, const Snapshot& after) {
  if (!after) return;
  auto node = after.as<schema::Node>();
  bool was = before && before.as<schema::Node>().getDownSinceNs() == 0;
  bool is = node.getDownSinceNs() == 0;
  if (before && was == is) return;
  tellNodeState(host, node, is ? schema::Node::State::READY : schema::Node::State::DOWN,
                node.getDownReason());
}

}  // namespace orch::control::manager
