// Whom a change of a task, a service or a node concerns, by the networks that it is on.
#include <algorithm>

#include "decide/address-allocator.h"
#include "session/connection.h"

namespace orch::control::manager {

namespace {
// By what its routes, networks and address are.
bool isSameHost(const Snapshot& before, const Snapshot& after) {
  if (!before) return false;
  auto all = [](schema::Node::Reader node) {
    std::vector<std::string> texts = {text(node.getAddress())};
    for (auto route : node.getDescription().getRoutes()) texts.push_back(text(route));
    for (auto pool : node.getDescription().getNetworks()) {
      texts.push_back(text(pool.getName()));
      texts.push_back(text(pool.getSubnet()));
    }
    return texts;
  };
  return all(before.as<schema::Node>()) == all(after.as<schema::Node>());
}
}  // namespace

template <typename F>
void Sessions::tellAll(F&& note) {
  for (auto& [nodeId, connection] : connections) {
    if (connection->over) continue;
    note(connection->networks);
    if (connection->networks.owes()) toPush.insert(nodeId);
  }
}

void Sessions::notePeer(const std::string& id, const Snapshot& before, const Snapshot& after) {
  bool was = before && isPeer(TaskReader(before));
  bool is = after && isPeer(TaskReader(after));
  if (!was && !is) return;
  if (before && after && sameForPeers(TaskReader(before), TaskReader(after))) return;
  TaskReader task(after ? after : before);
  auto own = connections.find(manager::view(task.getNodeId()));
  if (was != is && own != connections.end()) {
    own->second->networks.ownTaskChanged();
    toPush.insert(own->first);
  }
  for (auto leg : task.getLegs()) {
    auto network = text(leg.getNetwork());
    tellAll([&](NetworkFeed& feed) { feed.peerChanged(network, id); });
  }
}

void Sessions::notePorts(const Snapshot& before, const Snapshot& after) {
  bool was = before && isServing(TaskReader(before));
  bool is = after && isServing(TaskReader(after));
  if (was != is) portsChanged.insert(text(TaskReader(after ? after : before).getNodeId()));
}

void Sessions::tellPorts() {
  auto changed = std::exchange(portsChanged, {});
  if (changed.empty()) return;
  for (auto& id : changed) {
    bool serves = manager.state().networks().serving.count(id) > 0;
    tellAll([&](NetworkFeed& feed) { feed.nodeChanged(id, serves); });
  }
}

void Sessions::noteService(const std::string& id, const Snapshot& before, const Snapshot& after) {
  auto networkOf = [&](schema::NetworkAttachment::Reader attachment) {
    auto& byName = manager.state().networks().byName;
    auto found = byName.find(manager::view(attachment.getName()));
    return found == byName.end() ? std::string() : found->second.begin()->first;
  };
  for (auto& moment : {before, after}) {
    if (!moment) continue;
    for (auto attachment : moment.as<schema::Service>().getSpec().getTask().getNetworks()) {
      auto network = networkOf(attachment);
      if (!network.empty()) tellAll([&](auto& feed) { feed.serviceChanged(network, id); });
    }
  }
}

// Each once, when the node comes to have it.
void Sessions::warnOfOverlaps(const Snapshot& before, const Snapshot& after) {
  View view(manager.state(), env.nowNs(), Seed{});
  std::vector<std::string> known;
  if (before) known = overlapsOf(view, before.as<schema::Node>());
  for (auto& problem : overlapsOf(view, after.as<schema::Node>())) {
    if (std::find(known.begin(), known.end(), problem) != known.end()) continue;
    host.log().warn("manager.subnet-overlaps", {{"reason", problem.c_str()}});
  }
}

// Nobody is sent to the tasks of a node that is down.
void Sessions::noteNode(const std::string& id, const Snapshot& before, const Snapshot& after) {
  if (after && !isSameHost(before, after)) warnOfOverlaps(before, after);
  if (!before || !after) {
    portsChanged.insert(id);
    return;
  }
  auto was = before.as<schema::Node>();
  auto is = after.as<schema::Node>();
  bool sameKey = was.getDescription().getEncryptionKey() == is.getDescription().getEncryptionKey();
  if (isDown(was) == isDown(is) && was.getAddress() == is.getAddress() && sameKey) return;
  portsChanged.insert(id);
  for (auto& taskId : manager.state().tasksOf(id)) {
    TaskReader task(*manager.state().find(Kind::TASK, taskId));
    for (auto leg : task.getLegs()) {
      auto network = text(leg.getNetwork());
      tellAll([&](auto& feed) { feed.peerChanged(network, taskId); });
    }
  }
}

}  // namespace orch::control::manager
