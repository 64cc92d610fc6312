#include "state/network-index.h"

#include <algorithm>

#include "state/usage.h"

namespace orch::control::manager {

namespace {
std::string withoutPrefix(capnp::Text::Reader address) {
  auto whole = view(address);
  return std::string(whole.substr(0, whole.find('/')));
}
}  // namespace

std::string addressOf(schema::Leg::Reader leg) { return withoutPrefix(leg.getAddress()); }
std::string address6Of(schema::Leg::Reader leg) { return withoutPrefix(leg.getAddress6()); }

std::optional<Ipv4> hostOf(schema::Node::Reader node) {
  return network::parseIpv4Host(node.getAddress());
}

void NetworkIndex::countAddress(std::string_view network, std::string_view address, int sign) {
  auto number = network::parseIpv4(kj::heapString(address.data(), address.size()));
  if (!number) return;
  auto& addresses = held[std::string(network)];
  auto left = addresses[*number] += sign;
  if (left == 0) addresses.erase(*number);
  if (addresses.empty()) held.erase(held.find(network));
  auto resting = released.find(network);
  if (sign < 0 && left <= 0) {
    release(network, *number, nowNs);
  } else if (sign > 0 && resting != released.end()) {
    resting->second.atNs.erase(*number);
  }
}

void NetworkIndex::release(std::string_view network, Ipv4 address, int64_t atNs) {
  if (atNs == 0) return;
  auto& of = released[std::string(network)];
  auto& known = of.atNs[address];
  known = std::max(known, atNs);
  if (of.atNs.size() < of.pruneAt || nowNs == 0) return;
  std::erase_if(of.atNs, [&](auto& one) { return one.second + ADDRESS_REST_NS <= nowNs; });
  of.pruneAt = std::max<size_t>(64, 2 * of.atNs.size());
}

void NetworkIndex::forget(const std::string& network) {
  newest.erase(network);
  released.erase(network);
}

// Times are of another host's clock, perhaps: none is later than now.
void NetworkIndex::loaded(schema::Network::Reader network, int64_t atNs) {
  auto writtenNs = network.getReleasedAtNs();
  auto found = released.find(view(network.getMeta().getId()));
  if (writtenNs == 0 && found == released.end()) return;
  auto& of = released[text(network.getMeta().getId())];
  if (writtenNs > 0) of.allAtNs = std::min(writtenNs + RELEASE_GRAIN_NS, atNs);
  for (auto& [address, releasedNs] : of.atNs) releasedNs = std::min(releasedNs, atNs);
  std::erase_if(of.atNs, [&](auto& one) { return one.second + ADDRESS_REST_NS <= atNs; });
}

void NetworkIndex::count(schema::Network::Reader network, int sign) {
  auto name = text(network.getName());
  auto id = text(network.getMeta().getId());
  if ((byName[name][id] += sign) == 0) byName[name].erase(id);
  if (byName[name].empty()) byName.erase(name);
}

void NetworkIndex::count(schema::Service::Reader service, int sign) {
  for (auto address : service.getAddresses()) {
    countAddress(view(address.getNetwork()), view(address.getAddress()), sign);
  }
}

namespace {
bool isOfCluster(schema::PortSpec::Reader port) {
  return port.getMode() == schema::PortSpec::PublishMode::INGRESS;
}
}  // namespace

bool isServing(const TaskReader& task) {
  if (task.getPorts().size() == 0 || !isRunning(task)) return false;
  auto networks = task.getSpec().getNetworks();
  // There the ports are the node's own, or there are none.
  bool apart =
      networks.size() == 1 && (networks[0].getName() == "host" || networks[0].getName() == "none");
  if (apart) return false;
  for (auto port : task.getPorts()) {
    if (isOfCluster(port)) return true;
  }
  return false;
}

void NetworkIndex::countPorts(const TaskReader& task, int sign) {
  auto& ports = serving[text(task.getNodeId())];
  for (auto port : task.getPorts()) {
    if (!isOfCluster(port)) continue;
    auto key = portKey(port.getProtocol(), port.getPublished());
    if ((ports[key] += sign) == 0) ports.erase(key);
  }
  if (ports.empty()) serving.erase(text(task.getNodeId()));
}

void NetworkIndex::count(const TaskReader& task, int sign) {
  if (isTerminal(task)) {
    for (auto leg : task.getLegs()) {
      auto address = network::parseIpv4(addressOf(leg).c_str());
      if (sign > 0 && address) release(view(leg.getNetwork()), *address, task.endedAtNs());
    }
    return;
  }
  if (isServing(task)) countPorts(task, sign);
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
