#include "book.h"

#include <algorithm>

namespace orch::network::overlay {

void NetworkBook::tell(const NetworkFacts& told) {
  if (facts == told) return;
  facts = told;
  complete = true;
}

void NetworkBook::touch(const Peer& peer) {
  touchedAddresses.insert(peer.address);
  auto service = services.find(peer.serviceId);
  if (service != services.end()) touchedServices.insert(service->second.address);
}

void NetworkBook::removePeer(const std::string& taskId, const Peer& peer) {
  touch(peer);
  auto owner = owners.find(peer.address);
  if (owner == owners.end() || owner->second != taskId) return;  // another task has it by now
  owners.erase(owner);
  auto service = serving.find(peer.serviceId);
  if (service == serving.end()) return;
  auto& addresses = service->second;
  auto place = std::lower_bound(addresses.begin(), addresses.end(), peer.address);
  if (place != addresses.end() && *place == peer.address) addresses.erase(place);
  if (addresses.empty()) serving.erase(service);
}

void NetworkBook::tellPeer(const std::string& taskId, const Peer& peer) {
  auto [known, fresh] = peers.try_emplace(taskId, peer);
  if (!fresh && known->second == peer) return;
  if (!fresh) {
    removePeer(taskId, known->second);
    if (known->second.address != peer.address) gonePeers.push_back(known->second.address);
    known->second = peer;
  }
  auto owner = owners.find(peer.address);
  if (owner != owners.end()) removePeer(owner->second, peers.at(owner->second));
  owners[peer.address] = taskId;
  touch(peer);
  if (!peer.serving) return;
  auto& addresses = serving[peer.serviceId];
  auto place = std::lower_bound(addresses.begin(), addresses.end(), peer.address);
  if (place == addresses.end() || *place != peer.address) addresses.insert(place, peer.address);
}

void NetworkBook::forgetPeer(const std::string& taskId) {
  auto known = peers.find(taskId);
  if (known == peers.end()) return;
  removePeer(taskId, known->second);
  gonePeers.push_back(known->second.address);
  peers.erase(known);
}

void NetworkBook::tellService(const std::string& serviceId, const VirtualService& service) {
  auto known = services.find(serviceId);
  if (known != services.end() && known->second == service) return;
  forgetService(serviceId);
  if (service.address == 0) return;
  services[serviceId] = service;
  servicesByAddress[service.address] = serviceId;
  touchedServices.insert(service.address);
}

void NetworkBook::forgetService(const std::string& serviceId) {
  auto known = services.find(serviceId);
  if (known == services.end()) return;
  auto address = known->second.address;
  touchedServices.insert(address);
  auto named = servicesByAddress.find(address);
  if (named != servicesByAddress.end() && named->second == serviceId) {
    servicesByAddress.erase(named);
  }
  services.erase(known);
}

void NetworkBook::clear() {
  for (auto& taskId : taskIds()) unplug(taskId);
  facts.reset();
  peers.clear();
  owners.clear();
  serving.clear();
  services.clear();
  servicesByAddress.clear();
  complete = true;
}

std::vector<std::string> NetworkBook::peerIds() const {
  std::vector<std::string> ids;
  for (auto& [id, peer] : peers) ids.push_back(id);
  return ids;
}
std::vector<std::string> NetworkBook::serviceIds() const {
  std::vector<std::string> ids;
  for (auto& [id, service] : services) ids.push_back(id);
  return ids;
}
std::vector<std::string> NetworkBook::taskIds() const {
  std::vector<std::string> ids;
  for (auto& [id, leg] : legs) ids.push_back(id);
  return ids;
}

void NetworkBook::plug(const Leg& leg) {
  legs[leg.taskId] = leg;
  doubt(leg.taskId);
  touchedAddresses.insert(leg.address);
}

void NetworkBook::doubt(const std::string& taskId) {
  settled.erase(taskId);
  touchedLegs.insert(taskId);
}

void NetworkBook::unplug(const std::string& taskId) {
  auto known = legs.find(taskId);
  if (known == legs.end()) return;
  auto address = known->second.address;
  goneLegs[taskId] = known->second;
  settled.erase(taskId);
  legs.erase(known);
  touchedAddresses.insert(address);
  for (auto& [other, leg] : legs) {
    if (leg.address == address) doubt(other);  // what goes took some of its own with it
  }
}

const Leg* NetworkBook::legOf(const std::string& taskId) const {
  auto known = legs.find(taskId);
  return known == legs.end() ? nullptr : &known->second;
}

bool NetworkBook::hasChanges() const {
  return complete || !touchedLegs.empty() || !goneLegs.empty() || !touchedAddresses.empty() ||
         !touchedServices.empty() || !gonePeers.empty();
}

HostAddress NetworkBook::hostOf(Ipv4 address) const {
  auto owner = owners.find(address);
  if (owner == owners.end()) return {};
  for (auto& [taskId, leg] : legs) {
    if (leg.address == address) return {};
  }
  auto& peer = peers.at(owner->second);
  if (!isEncrypted()) return peer.host;
  // Without a key nobody is led there: in the clear would be worse.
  return peer.key && peer.host != 0 ? tunnelAddressOf(*peer.key) : HostAddress();
}

void NetworkBook::addTo(WireguardPeers& to, uint16_t port) const {
  for (auto& [taskId, peer] : peers) {
    if (peer.key && peer.host != 0) to[*peer.key] = {peer.host, port, tunnelAddressOf(*peer.key)};
  }
}

std::optional<Balanced> NetworkBook::balancedAt(Ipv4 virtualAddress) const {
  auto named = servicesByAddress.find(virtualAddress);
  if (named == servicesByAddress.end()) return std::nullopt;
  Balanced balanced;
  balanced.choice = services.at(named->second).choice;
  auto found = serving.find(named->second);
  if (found != serving.end()) balanced.backends.assign(found->second.begin(), found->second.end());
  return balanced;
}

void NetworkBook::takeLegs(SandboxChange& change) {
  for (auto& [taskId, leg] : goneLegs) {
    change.unplugs.push_back(leg);
    change.balancing.locals[leg.address] = false;
  }
  goneLegs.clear();
  if (!facts) return;
  for (auto& [taskId, leg] : legs) {
    if (!change.complete && touchedLegs.count(taskId) == 0) continue;
    change.plugs.push_back(leg);
    change.balancing.locals[leg.address] = true;
  }
  touchedLegs.clear();
}

SandboxChange NetworkBook::take(const HostAddress& host) {
  SandboxChange change;
  change.facts = facts;
  change.host = host;
  change.complete = change.balancing.complete = complete && facts;
  takeLegs(change);
  if (!facts) return change;
  change.balancing.gateway = facts->gateway;
  if (complete) {
    auto& there = change.balancing.there;
    for (auto& [taskId, leg] : legs) there.insert(leg.address);
    for (auto& [address, owner] : owners) there.insert(address);
    for (auto& [address, owner] : owners) touchedAddresses.insert(address);
    for (auto& [address, service] : servicesByAddress) touchedServices.insert(address);
  }
  for (auto address : touchedAddresses) change.remotes[address] = hostOf(address);
  for (auto address : touchedServices) change.balancing.services[address] = balancedAt(address);
  for (auto address : gonePeers) {
    if (owners.count(address) == 0) change.balancing.gone.push_back(address);
  }
  touchedAddresses.clear();
  touchedServices.clear();
  gonePeers.clear();
  complete = false;
  return change;
}

SandboxChange NetworkBook::whole(const HostAddress& host) const {
  auto copy = *this;
  copy.startOver();
  return copy.take(host);
}

void NetworkBook::confirm(const SandboxChange& done) {
  for (auto& leg : done.plugs) {
    auto* now = legOf(leg.taskId);
    if (now != nullptr && *now == leg && touchedLegs.count(leg.taskId) == 0) {
      settled.insert(leg.taskId);
    }
  }
}

void NetworkBook::failed(SandboxChange change) {
  complete = true;
  for (auto& leg : change.unplugs) goneLegs.try_emplace(leg.taskId, leg);
  gonePeers.insert(gonePeers.end(), change.balancing.gone.begin(), change.balancing.gone.end());
}

}  // namespace orch::network::overlay
