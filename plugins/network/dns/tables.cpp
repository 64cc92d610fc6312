#include "tables.h"

#include <algorithm>

namespace orch::network::dns {

namespace {
std::string text(capnp::Text::Reader from) { return from.cStr(); }

Ipv4 addressOf(capnp::Text::Reader text) { return parseIpv4(text).value_or(0); }

std::string ofTask(const std::string& name, const std::string& taskId) {
  return name + "." + lowerCase(taskId);
}
}  // namespace

std::string lowerCase(std::string_view name) {
  std::string result(name);
  for (auto& c : result) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
  return result;
}

void Zone::link(std::string key, Source source) {
  if (key.empty()) return;
  auto& sources = names[kj::mv(key)].sources;
  if (std::find(sources.begin(), sources.end(), source) == sources.end()) sources.push_back(source);
}

void Zone::unlink(const std::string& key, Source source) {
  auto found = names.find(key);
  if (found == names.end()) return;
  std::erase(found->second.sources, source);
  if (found->second.sources.empty()) names.erase(found);
}

void Zone::setReverse(Ipv4 address, std::string owner) {
  if (address != 0) reverse.emplace(address, kj::mv(owner));
}

void Zone::unsetReverse(Ipv4 address, const std::string& owner) {
  auto [first, last] = reverse.equal_range(address);
  auto found = std::find_if(first, last, [&](auto& one) { return one.second == owner; });
  if (found != last) reverse.erase(found);
}

void Zone::set(schema::NetworkPeer::Reader told) {
  auto taskId = text(told.getTaskId());
  Peer peer{lowerCase(text(told.getName())), text(told.getServiceId()),
            addressOf(told.getAddress()), told.getServing()};
  auto known = peers.find(taskId);
  if (known != peers.end()) {
    if (known->second == peer) return;
    removePeer(taskId);
  }
  auto& kept = peers[taskId] = kj::mv(peer);
  link(kept.name, {nullptr, &kept, false});
  link(ofTask(kept.name, taskId), {nullptr, &kept, false});
  setReverse(kept.address, ofTask(kept.name, taskId));
  auto& service = services[kept.serviceId];
  if (kept.serving && kept.address != 0) service.serving.push_back(kept.address);
}

void Zone::removePeer(const std::string& taskId) {
  auto found = peers.find(taskId);
  if (found == peers.end()) return;
  auto& peer = found->second;
  unlink(peer.name, {nullptr, &peer, false});
  unlink(ofTask(peer.name, taskId), {nullptr, &peer, false});
  unsetReverse(peer.address, ofTask(peer.name, taskId));
  auto& serving = services[peer.serviceId].serving;
  auto one = std::find(serving.begin(), serving.end(), peer.address);
  if (peer.serving && one != serving.end()) serving.erase(one);
  auto serviceId = peer.serviceId;
  peers.erase(found);
  dropIfUnused(serviceId);
}

void Zone::set(schema::NetworkService::Reader told) {
  std::vector<std::string> called{lowerCase(text(told.getName()))};
  for (auto alias : told.getAliases()) called.push_back(lowerCase(text(alias)));
  auto address = addressOf(told.getAddress());
  auto id = text(told.getServiceId());
  auto& service = services[id];
  if (service.named && service.names == called && service.address == address) return;
  // The tasks' addresses stay; the name is never away in between, this is one thread.
  if (service.named) {
    for (auto& one : service.names) {
      unlink(one, {&service, nullptr, false});
      unlink("tasks." + one, {&service, nullptr, true});
    }
    unsetReverse(service.address, service.names[0]);
  }
  service.named = true;
  service.names = kj::mv(called);
  service.address = address;
  for (auto& one : service.names) {
    link(one, {&service, nullptr, false});
    link("tasks." + one, {&service, nullptr, true});
  }
  setReverse(address, service.names[0]);
}

void Zone::removeService(const std::string& serviceId) {
  auto found = services.find(serviceId);
  if (found == services.end() || !found->second.named) return;
  auto& service = found->second;
  for (auto& one : service.names) {
    unlink(one, {&service, nullptr, false});
    unlink("tasks." + one, {&service, nullptr, true});
  }
  unsetReverse(service.address, service.names[0]);
  service.named = false;
  service.names.clear();
  service.address = 0;
  dropIfUnused(serviceId);
}

void Zone::dropIfUnused(const std::string& serviceId) {
  auto found = services.find(serviceId);
  if (found == services.end() || found->second.named || !found->second.serving.empty()) return;
  services.erase(found);
}

bool Zone::find(std::string_view key, std::vector<Ipv4>& addresses) {
  auto found = names.find(key);
  if (found == names.end()) return false;
  auto& [sources, turn] = found->second;
  size_t before = addresses.size();
  bool served = std::any_of(sources.begin(), sources.end(),
                            [](auto& one) { return one.peer != nullptr && one.peer->serving; });
  for (auto& source : sources) {
    if (source.peer != nullptr) {
      // A task that stops makes way for the one that took its slot over.
      if (source.peer->address != 0 && source.peer->serving == served) {
        addresses.push_back(source.peer->address);
      }
    } else if (source.service->address != 0 && !source.tasks) {
      addresses.push_back(source.service->address);
    } else {
      auto& serving = source.service->serving;
      addresses.insert(addresses.end(), serving.begin(), serving.end());
    }
  }
  size_t count = addresses.size() - before;
  if (count > 1) {
    auto first = addresses.begin() + static_cast<ptrdiff_t>(before);
    std::rotate(first, first + turn++ % count, addresses.end());
  }
  return true;
}

const std::string* Zone::nameOf(Ipv4 address) const {
  auto found = reverse.find(address);
  return found == reverse.end() ? nullptr : &found->second;
}

void Tables::apply(schema::NetworkChange::Reader change) {
  if (change.getComplete()) zones.clear();
  for (auto network : change.getNetworks()) {
    auto& told = zone(text(network.getMeta().getId()));
    told.name = lowerCase(text(network.getName()));
    told.subnet = parseSubnet(network.getSubnet());
    told.subnet6 = parseSubnet6(network.getSubnet6());
    told.twins = twinsOf(network);
  }
  for (auto peer : change.getPeers()) zone(text(peer.getNetwork())).set(peer);
  for (auto service : change.getServices()) zone(text(service.getNetwork())).set(service);
  auto known = [&](auto& member) { return zones.find(text(member.getNetwork())); };
  for (auto member : change.getGonePeers()) {
    auto found = known(member);
    if (found != zones.end()) found->second.removePeer(text(member.getId()));
  }
  for (auto member : change.getGoneServices()) {
    auto found = known(member);
    if (found != zones.end()) found->second.removeService(text(member.getId()));
  }
  for (auto id : change.getGoneNetworks()) zones.erase(text(id));
}

const Zone* Tables::find(const std::vector<std::string>& networks, std::string_view name,
                         std::vector<Ipv4>& addresses) {
  for (auto& id : networks) {
    auto found = zones.find(id);
    if (found == zones.end()) continue;
    auto& zone = found->second;
    if (zone.find(name, addresses)) return &zone;
    size_t suffix = zone.name.size();
    if (suffix == 0 || name.size() < suffix + 2 || !name.ends_with(zone.name)) continue;
    size_t end = name.size() - suffix - 1;
    if (name[end] == '.' && zone.find(name.substr(0, end), addresses)) return &zone;
  }
  return nullptr;
}

Tables::Reverse Tables::nameOf(const std::vector<std::string>& networks, Ipv4 address) const {
  Reverse result;
  for (auto& id : networks) {
    auto found = zones.find(id);
    if (found == zones.end()) continue;
    auto& zone = found->second;
    if (auto* name = zone.nameOf(address)) return {true, *name + "." + zone.name};
    result.inside = result.inside || (zone.subnet && zone.subnet->contains(address));
  }
  return result;
}

Tables::Reverse Tables::nameOf(const std::vector<std::string>& networks,
                               const Ipv6& address) const {
  Reverse result;
  for (auto& id : networks) {
    auto found = zones.find(id);
    if (found == zones.end() || !found->second.twins) continue;
    auto& zone = found->second;
    auto owner = zone.twins->ownerOf(address);
    auto* name = owner ? zone.nameOf(*owner) : nullptr;
    if (name != nullptr) return {true, *name + "." + zone.name};
    result.inside = result.inside || (zone.subnet6 && zone.subnet6->contains(address));
  }
  return result;
}

}  // namespace orch::network::dns
