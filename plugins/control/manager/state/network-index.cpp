#include "state/network-index.h"

#include "state/usage.h"

namespace orch::control::manager {

std::string addressOf(schema::Leg::Reader leg) {
  auto whole = view(leg.getAddress());
  return std::string(whole.substr(0, whole.find('/')));
}

std::optional<Ipv4> hostOf(schema::Node::Reader node) {
  auto address = view(node.getAddress());
  auto host = address.substr(0, address.rfind(':'));
  return network::parseIpv4(kj::heapString(host.data(), host.size()));
}

void NetworkIndex::countAddress(std::string_view network, std::string_view address, int sign) {
  auto number = network::parseIpv4(kj::heapString(address.data(), address.size()));
  if (!number) return;
  auto& addresses = held[std::string(network)];
  if ((addresses[*number] += sign) == 0) addresses.erase(*number);
  if (addresses.empty()) held.erase(held.find(network));
}

void NetworkIndex::count(schema::Network::Reader network, int sign) {
  auto name = text(network.getName());
  auto id = text(network.getMeta().getId());
  if ((byName[name][id] += sign) == 0) byName[name].erase(id);
  if (byName[name].empty()) byName.erase(name);
  if (sign < 0) newest.erase(id);
}

void NetworkIndex::count(schema::Service::Reader service, int sign) {
  for (auto address : service.getAddresses()) {
    countAddress(view(address.getNetwork()), view(address.getAddress()), sign);
  }
}

void NetworkIndex::count(const TaskReader& task, int sign) {
  if (isTerminal(task)) return;
  for (auto leg : task.getLegs()) {
    auto network = text(leg.getNetwork());
    auto address = addressOf(leg);
    countAddress(network, address, sign);
    auto createdAtNs = task.getMeta().getCreatedAtNs();
    auto& last = newest[network];
    if (sign > 0 && createdAtNs >= last.atNs) {
      last = {createdAtNs, network::parseIpv4(address.c_str()).value_or(0)};
    }
    auto& byNode = members[network];
    auto& ids = byNode[text(task.getNodeId())];
    if (sign > 0) {
      ids.insert(task.id());
    } else {
      ids.erase(task.id());
    }
    if (ids.empty()) byNode.erase(text(task.getNodeId()));
    if (byNode.empty()) members.erase(network);
  }
}

}  // namespace orch::control::manager
