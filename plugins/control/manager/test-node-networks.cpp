// What a scripted node is told of networks.
#include <kj/debug.h>

#include "test-cluster.h"

namespace orch::control::manager {

void ScriptedNode::forgetNetworks() {
  networks.clear();
  peers.clear();
  names.clear();
  nodes.clear();
}

void ScriptedNode::takeNetwork(schema::Assignment::Reader assignment) {
  if (assignment.isNetwork()) {
    networks.insert(assignment.getNetwork().getMeta().getId().cStr());
  } else if (assignment.isPeer()) {
    auto peer = assignment.getPeer();
    KJ_REQUIRE(networks.count(peer.getNetwork().cStr()) == 1, "of a network that it knows");
    auto& known = peers[kj::str(peer.getNetwork(), "/", peer.getTaskId()).cStr()];
    known = {peer.getAddress().cStr(), peer.getAddress6().cStr(), peer.getNodeAddress().cStr()};
    known.serving = peer.getServing();
    known.key = peer.getNodeKey().cStr();
  } else if (assignment.isMeshNode()) {
    auto node = assignment.getMeshNode();
    auto ports = KJ_MAP(port, node.getPorts()) { return kj::str(" ", port.getPublished()); };
    nodes[node.getNodeId().cStr()] = kj::str(node.getAddress(), kj::strArray(ports, "")).cStr();
  } else {
    auto service = assignment.getService();
    KJ_REQUIRE(networks.count(service.getNetwork().cStr()) == 1, "of a network that it knows");
    auto aliases = KJ_MAP(alias, service.getAliases()) { return kj::str(" ", alias); };
    names[service.getName().cStr()] =
        kj::str(service.getAddress(), kj::strArray(aliases, "")).cStr();
  }
}

void ScriptedNode::forgetNetwork(schema::AssignedObject::Reader gone) {
  auto network = std::string(gone.getNetwork().cStr());
  if (gone.getKind() == schema::AssignedKind::PEER) {
    peers.erase(network + "/" + gone.getId().cStr());
  } else if (gone.getKind() == schema::AssignedKind::MESH_NODE) {
    nodes.erase(gone.getId().cStr());
  } else if (gone.getKind() == schema::AssignedKind::NETWORK) {
    networks.erase(network);
    std::erase_if(peers, [&](auto& peer) { return peer.first.starts_with(network + "/"); });
    if (networks.empty()) names.clear();
  }
}

}  // namespace orch::control::manager
