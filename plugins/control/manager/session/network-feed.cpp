#include "session/network-feed.h"

#include "schedule/encryption.h"
#include "state/usage.h"

namespace orch::control::manager {

namespace {

const Object* nodeOf(const State& state, const TaskReader& task) {
  return state.find(Kind::NODE, view(task.getNodeId()));
}

// Nobody is sent to a node that is down. If it is not known to be without orchd alone, nothing
// there answers: connections to it are to be broken off, not waited for.
bool isGone(const Object* node) {
  if (node == nullptr) return true;
  auto is = node->as<schema::Node>();
  return isDown(is) && !isWithoutOrchd(is);
}

bool isThere(const State& state, const std::string& network, const std::string& taskId) {
  auto object = state.find(Kind::TASK, taskId);
  if (object == nullptr || !isPeer(TaskReader(*object))) return false;
  if (isGone(nodeOf(state, TaskReader(*object)))) return false;
  for (auto leg : TaskReader(*object).getLegs()) {
    if (view(leg.getNetwork()) == network) return true;
  }
  return false;
}

bool isAttached(const State& state, const std::string& network, const std::string& serviceId) {
  auto made = state.find(Kind::NETWORK, network);
  auto object = state.find(Kind::SERVICE, serviceId);
  if (made == nullptr || object == nullptr) return false;
  auto name = made->as<schema::Network>().getName();
  for (auto attachment : object->as<schema::Service>().getSpec().getTask().getNetworks()) {
    if (attachment.getName() == name) return true;
  }
  return false;
}

void fillPeer(const State& state, const std::string& network, const std::string& taskId,
              schema::NetworkPeer::Builder peer) {
  TaskReader task(*state.find(Kind::TASK, taskId));
  peer.setNetwork(network.c_str());
  peer.setTaskId(taskId.c_str());
  peer.setServiceId(task.getServiceId());
  peer.setName((text(task.getServiceName()) + "." + nameOf(task.slot())).c_str());
  for (auto leg : task.getLegs()) {
    if (view(leg.getNetwork()) != network) continue;
    peer.setAddress(addressOf(leg).c_str());
    peer.setAddress6(address6Of(leg).c_str());
  }
  peer.setNodeId(task.getNodeId());
  peer.setServing(isRunning(task));
  if (auto node = nodeOf(state, task)) {
    if (auto host = hostOf(node->as<schema::Node>())) {
      peer.setNodeAddress(network::ipv4Text(*host));
    }
    auto made = state.find(Kind::NETWORK, network)->as<schema::Network>();
    auto description = node->as<schema::Node>().getDescription();
    if (isEncrypted(made)) peer.setNodeKey(description.getEncryptionKey());
    if (isDown(node->as<schema::Node>())) peer.setServing(false);
  }
}

void fillService(const State& state, const std::string& network, const std::string& serviceId,
                 schema::NetworkService::Builder target) {
  auto service = state.find(Kind::SERVICE, serviceId)->as<schema::Service>();
  auto name = state.find(Kind::NETWORK, network)->as<schema::Network>().getName();
  target.setNetwork(network.c_str());
  target.setServiceId(serviceId.c_str());
  target.setName(service.getSpec().getName());
  target.setAlgorithm(service.getSpec().getEndpoint().getAlgorithm());
  target.setPersistenceMs(service.getSpec().getEndpoint().getPersistenceMs());
  for (auto address : service.getAddresses()) {
    if (view(address.getNetwork()) != network) continue;
    target.setAddress(address.getAddress());
    target.setAddress6(address.getAddress6());
  }
  for (auto attachment : service.getSpec().getTask().getNetworks()) {
    if (attachment.getName() == name) target.setAliases(attachment.getAliases());
  }
}

kj::Maybe<Ipv4> reachableAt(const State& state, const std::string& nodeId) {
  auto node = state.find(Kind::NODE, nodeId);
  if (isGone(node)) return nullptr;
  auto host = hostOf(node->as<schema::Node>());
  if (!host) return nullptr;
  return *host;
}

void fillNode(const State& state, const std::string& nodeId, schema::MeshNode::Builder target) {
  target.setNodeId(nodeId.c_str());
  KJ_IF_MAYBE (host, reachableAt(state, nodeId)) target.setAddress(network::ipv4Text(*host));
  auto found = state.networks().serving.find(nodeId);
  if (found == state.networks().serving.end()) return;
  if (isDown(state.find(Kind::NODE, nodeId)->as<schema::Node>())) return;
  auto ports = target.initPorts(found->second.size());
  uint32_t i = 0;
  for (auto& [key, tasks] : found->second) {
    auto [protocol, published] = portOf(key);
    ports[i].setProtocol(protocol);
    ports[i].setPublished(published);
    ports[i++].setTasks(tasks);
  }
}

}  // namespace

bool isPeer(const TaskReader& task) {
  return task.getLegs().size() > 0 && isAssigned(task) && !isTerminal(task);
}

bool sameForPeers(const TaskReader& a, const TaskReader& b) {
  return isPeer(a) == isPeer(b) && isRunning(a) == isRunning(b);
}

NetworkFeed::Message NetworkFeed::take(const State& state, const std::string& nodeId,
                                       bool complete) {
  Message message;
  if (complete) {
    told.clear();
    peers.clear();
    services.clear();
    toldNodes.clear();
    for (auto& entry : state.networks().serving) nodes.insert(entry.first);
  }
  if (complete || looks) {
    std::set<std::string> here;
    for (auto& [network, byNode] : state.networks().members) {
      if (byNode.count(nodeId) > 0 && state.find(Kind::NETWORK, network) != nullptr) {
        here.insert(network);
      }
    }
    for (auto& network : told) {
      if (here.count(network) == 0) message.goneNetworks.push_back(network);
    }
    for (auto& network : message.goneNetworks) {
      told.erase(network);
      auto ofIt = [&](auto& member) { return member.first == network; };
      std::erase_if(peers, ofIt);
      std::erase_if(services, ofIt);
    }
    for (auto& network : here) {
      if (!told.insert(network).second) continue;
      message.networks.push_back(network);
      for (auto& [node, tasks] : state.networks().members.find(network)->second) {
        for (auto& id : tasks) peers.insert({network, id});
      }
      auto name = state.find(Kind::NETWORK, network)->as<schema::Network>().getName();
      auto users = state.services().byNetwork.find(view(name));
      if (users == state.services().byNetwork.end()) continue;
      for (auto& [id, count] : users->second) services.insert({network, id});
    }
  }
  looks = false;
  for (auto& member : std::exchange(services, {})) {
    bool there = isAttached(state, member.first, member.second);
    (there ? message.services : message.goneServices).push_back(member);
  }
  for (auto& member : std::exchange(peers, {})) {
    bool there = isThere(state, member.first, member.second);
    (there ? message.peers : message.gonePeers).push_back(member);
  }
  takeNodes(state, nodeId, message);
  return message;
}

// One that takes no connections any more, but is there, stays told: those that are open go on.
void NetworkFeed::takeNodes(const State& state, const std::string& nodeId, Message& message) {
  nodes.erase(nodeId);
  for (auto& id : std::exchange(nodes, {})) {
    if (reachableAt(state, id) == nullptr) {
      if (toldNodes.erase(id) > 0) message.goneNodes.push_back(id);
    } else if (state.networks().serving.count(id) > 0 || toldNodes.count(id) > 0) {
      toldNodes.insert(id);
      message.nodes.push_back(id);
    }
  }
}

void fillNetworks(const State& state, const NetworkFeed::Message& message,
                  capnp::List<schema::Assignment>::Builder assignments, uint32_t& at) {
  for (auto& network : message.networks) {
    auto& object = *state.find(Kind::NETWORK, network);
    assignments[at].setVersion(object.version());
    assignments[at++].setNetwork(object.as<schema::Network>());
  }
  for (auto& [network, id] : message.services) {
    assignments[at].setVersion(state.find(Kind::SERVICE, id)->version());
    fillService(state, network, id, assignments[at++].initService());
  }
  for (auto& [network, id] : message.peers) {
    assignments[at].setVersion(state.find(Kind::TASK, id)->version());
    fillPeer(state, network, id, assignments[at++].initPeer());
  }
  for (auto& id : message.nodes) {
    assignments[at].setVersion(state.find(Kind::NODE, id)->version());
    fillNode(state, id, assignments[at++].initMeshNode());
  }
}

void fillGone(const NetworkFeed::Message& message,
              capnp::List<schema::AssignedObject>::Builder gone, uint32_t& at) {
  auto add = [&](schema::AssignedKind kind, const std::string& network, const std::string& id) {
    gone[at].setKind(kind);
    gone[at].setNetwork(network.c_str());
    gone[at++].setId(id.c_str());
  };
  for (auto& [network, id] : message.gonePeers) add(schema::AssignedKind::PEER, network, id);
  for (auto& [network, id] : message.goneServices) add(schema::AssignedKind::SERVICE, network, id);
  for (auto& network : message.goneNetworks) add(schema::AssignedKind::NETWORK, network, network);
  for (auto& id : message.goneNodes) add(schema::AssignedKind::MESH_NODE, "", id);
}

}  // namespace orch::control::manager
