#include "events.h"

namespace orch::control::manager {

kj::StringPtr stateName(schema::TaskState state) {
  static constexpr const char* NAMES[] = {"new",    "pending",  "assigned", "accepted", "preparing",
                                          "ready",  "starting", "running",  "complete", "shutdown",
                                          "failed", "rejected", "remove",   "orphaned"};
  auto index = static_cast<size_t>(state);
  return index < std::size(NAMES) ? NAMES[index] : "unknown";
}

void EventPublisher::changing(const Key& key, const Object* before, const Change& after) {
  switch (key.kind) {
    case Kind::TASK:
      return taskChanging(before, after);
    case Kind::SERVICE:
      return serviceChanging(before, after);
    case Kind::NODE:
      return nodeChanging(before, after);
    case Kind::CLUSTER:
    case Kind::REQUEST:
      return;
  }
}

void EventPublisher::taskChanging(const Object* before, const Change& after) {
  auto tell = [&](kj::StringPtr topic, schema::Task::Reader task) {
    host.publish(topic, task.getMeta().getId(),
                 {{"service", task.getServiceName()},
                  {"serviceId", task.getServiceId()},
                  {"slot", task.getSlot()},
                  {"node", task.getNodeId()},
                  {"exitCode", task.getStatus().getContainer().getExitCode()},
                  {"error", task.getStatus().getError()}});
  };
  if (after.isDelete()) return tell("task.removed", before->as<schema::Task>());
  auto task = after.as<schema::Task>();
  auto state = task.getStatus().getState();
  if (before == nullptr) tell("task.created", task);
  auto old = before == nullptr ? schema::TaskState::PENDING
                               : before->as<schema::Task>().getStatus().getState();
  if (state != old) tell(kj::str("task.", stateName(state)), task);
}

void EventPublisher::serviceChanging(const Object* before, const Change& after) {
  auto service = after.isDelete() ? before->as<schema::Service>() : after.as<schema::Service>();
  auto topic = after.isDelete()    ? "service.removed"_kj
               : before == nullptr ? "service.created"_kj
                                   : "service.updated"_kj;
  host.publish(
      topic, service.getMeta().getId(),
      {{"name", service.getSpec().getName()}, {"update", service.getUpdate().getMessage()}});
}

void EventPublisher::nodeChanging(const Object* before, const Change& after) {
  if (after.isDelete()) return;
  auto node = after.as<schema::Node>();
  if (before != nullptr && before->as<schema::Node>().getState() == node.getState()) return;
  auto topic = node.getState() == schema::Node::State::READY  ? "node.ready"_kj
               : node.getState() == schema::Node::State::DOWN ? "node.down"_kj
                                                              : "node.unknown"_kj;
  host.publish(topic, node.getMeta().getId(),
               {{"hostname", node.getDescription().getHostname()}, {"message", node.getMessage()}});
}

}  // namespace orch::control::manager
