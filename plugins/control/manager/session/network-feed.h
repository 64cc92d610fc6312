// What one node is told of networks: of those that a task of it has a leg in, all peers and
// services. Only differences, once it has been told of a network.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "orch/schema/agent.capnp.h"
#include "state/state.h"

namespace orch::control::manager {

class NetworkFeed final {
 public:
  // A task of the node got a leg, or lost one.
  void ownTaskChanged() { looks = true; }
  void peerChanged(const std::string& network, const std::string& taskId) {
    if (told.count(network) > 0) peers.insert({network, taskId});
  }
  void serviceChanged(const std::string& network, const std::string& serviceId) {
    if (told.count(network) > 0) services.insert({network, serviceId});
  }
  // What published ports lead to on another node, or where that is.
  void nodeChanged(const std::string& nodeId, bool serves) {
    if (serves || toldNodes.count(nodeId) > 0) nodes.insert(nodeId);
  }
  bool owes() const { return looks || !peers.empty() || !services.empty() || !nodes.empty(); }

  // What to send, all of it at first. From then on the node counts as told.
  struct Message {
    std::vector<std::string> networks;
    std::vector<std::pair<std::string, std::string>> services, peers;  // network, id
    std::vector<std::string> goneNetworks;
    std::vector<std::string> nodes, goneNodes;
    std::vector<std::pair<std::string, std::string>> goneServices, gonePeers;
    uint32_t assignments() const {
      return networks.size() + services.size() + peers.size() + nodes.size();
    }
    uint32_t gone() const {
      return goneNetworks.size() + goneServices.size() + gonePeers.size() + goneNodes.size();
    }
  };
  Message take(const State& state, const std::string& nodeId, bool complete);

 private:
  using Members = std::set<std::pair<std::string, std::string>>;
  std::set<std::string> told;  // networks
  bool looks = false;
  Members peers, services;  // to tell of; or that they are gone
  void takeNodes(const State& state, const std::string& nodeId, Message& message);
  std::set<std::string> toldNodes, nodes;  // other nodes that take connections; those that changed
};

// Both lists have room for the message from `at` on, which is moved behind it.
void fillNetworks(const State& state, const NetworkFeed::Message& message,
                  capnp::List<schema::Assignment>::Builder assignments, uint32_t& at);
void fillGone(const NetworkFeed::Message& message,
              capnp::List<schema::AssignedObject>::Builder gone, uint32_t& at);

// Whether others on the network may be told of the task.
bool isPeer(const TaskReader& task);
// Whether two moments of one task are the same to its peers.
bool sameForPeers(const TaskReader& a, const TaskReader& b);

}  // namespace orch::control::manager
