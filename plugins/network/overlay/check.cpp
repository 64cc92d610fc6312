#include "check.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "answered.h"
#include "balancer.h"
#include "lib/kernel-switch.h"
#include "lib/netns.h"
#include "lib/rtnetlink.h"
#include "way-out.h"

namespace orch::network::overlay {

namespace {

// What a namespace has, in a few lists.
struct Inside {
  std::map<std::string, Link> links;
  std::map<uint32_t, std::string> names;
  std::vector<Address> addresses;
  std::vector<Address6> addresses6;

  explicit Inside(Rtnetlink& net) : addresses(net.addresses()), addresses6(net.addresses6()) {
    for (auto& link : net.links()) {
      names[link.index] = link.name;
      links[link.name] = link;
    }
  }
  const Link* find(const std::string& name) const {
    auto known = links.find(name);
    return known == links.end() ? nullptr : &known->second;
  }
  std::string nameOf(uint32_t index) const {
    auto known = names.find(index);
    return known == names.end() ? std::string() : known->second;
  }
  // Whether the device has the address; empty if not.
  kj::String addressOn(const Link* link, Ipv4 wanted, uint8_t prefix) const {
    for (auto& one : addresses) {
      bool same = link != nullptr && one.link == link->index && one.address == wanted;
      if (same && one.prefix == prefix) return subnetText(Ipv4Subnet{wanted, prefix});
    }
    return kj::str();
  }
  kj::String addressOn(const Link* link, const Ipv6& wanted, uint8_t prefix) const {
    for (auto& one : addresses6) {
      bool same = link != nullptr && one.link == link->index && one.address == wanted;
      if (same && one.prefix == prefix) return subnetText(Ipv6Subnet{wanted, prefix});
    }
    return kj::str();
  }
};

AddressKind kindOf(const NetworkFacts& facts) {
  return facts.ipv6 ? AddressKind(*facts.ipv6) : AddressKind();
}

kj::String portText(const Inside& inside, const Link* link) {
  if (link == nullptr) return kj::str();
  return kj::str(link->up ? "up" : "down", ", mtu ", link->mtu, ", port of ",
                 link->master == NO_MASTER ? "nothing" : inside.nameOf(link->master).c_str());
}
kj::String portText(uint32_t mtu) { return kj::str("up, mtu ", mtu, ", port of ", BRIDGE); }

kj::String vxlanText(const Vxlan& vxlan) {
  return kj::str("VNI ", vxlan.vni, " from ", hostText(vxlan.local), ":", vxlan.port);
}

kj::String macText(const Mac& mac) {
  static constexpr char DIGITS[] = "0123456789abcdef";
  std::string text;
  for (auto byte : mac) {
    if (!text.empty()) text += ':';
    text += DIGITS[byte >> 4];
    text += DIGITS[byte & 15];
  }
  return kj::str(text.c_str());
}

void checkDevices(const Layout& layout, const SandboxChange& wanted, const Inside& inside,
                  Findings& findings) {
  auto& facts = *wanted.facts;
  auto bridge = inside.find(BRIDGE);
  auto there = bridge == nullptr ? kj::str()
                                 : kj::str(bridge->up ? "up" : "down", ", mtu ", bridge->mtu, ", ",
                                           macText(bridge->mac));
  findings.compare(kj::str("bridge ", BRIDGE),
                   kj::str("up, mtu ", facts.mtu, ", ", macText(macOf(facts.gateway))), there);
  findings.compare(kj::str("gateway's address of ", BRIDGE),
                   subnetText(Ipv4Subnet{facts.gateway, facts.subnet.prefix}),
                   inside.addressOn(bridge, facts.gateway, facts.subnet.prefix));
  if (facts.ipv6) {
    findings.compare(kj::str("gateway's IPv6 address of ", BRIDGE),
                     subnetText(Ipv6Subnet{facts.ipv6->gateway, facts.ipv6->prefix}),
                     inside.addressOn(bridge, facts.ipv6->gateway, facts.ipv6->prefix));
  }
  if (!wanted.host.isKnown()) return;
  auto vxlan = inside.find(VXLAN);
  findings.compare(kj::str("device ", VXLAN), portText(facts.mtu), portText(inside, vxlan));
  if (vxlan == nullptr) return;
  findings.compare(kj::str("tunnel of ", VXLAN),
                   vxlanText({facts.vni, wanted.host, layout.dataPort}), vxlanText(vxlan->vxlan));
}

// Where the frames of each address go: to a port here, or to a host.
using Ways = std::map<Ipv4, std::string>;

void compareWays(kj::StringPtr object, const Ways& wanted, const Ways& found, Findings& findings,
                 const AddressKind& kind = {}) {
  std::set<Ipv4> all;
  for (auto& entry : wanted) all.insert(entry.first);
  for (auto& entry : found) all.insert(entry.first);
  auto in = [](const Ways& ways, Ipv4 address) {
    auto known = ways.find(address);
    return known == ways.end() ? ""_kj : kj::StringPtr(known->second.c_str());
  };
  for (auto address : all) {
    findings.compare(kj::str(object, " ", kind.text(address)), in(wanted, address),
                     in(found, address));
  }
}

void checkWays(const Layout& layout, const SandboxChange& wanted, Rtnetlink& net,
               const Inside& inside, Findings& findings) {
  Ways hosts, ports, neighbours;
  for (auto& [address, host] : wanted.remotes) {
    if (!host.isKnown() || !wanted.host.isKnown()) continue;
    hosts[address] = hostText(host).cStr();
    ports[address] = VXLAN;
    neighbours[address] = macText(macOf(address)).cStr();
  }
  for (auto& leg : wanted.plugs) {
    ports[leg.address] = layout.portOf(leg.taskId);
    neighbours[leg.address] = macText(macOf(leg.address)).cStr();
  }
  Ways foundHosts, foundPorts, foundNeighbours;
  auto vxlan = inside.find(VXLAN);
  auto bridge = inside.find(BRIDGE);
  for (auto& remote : net.remoteMacs()) {
    bool here = vxlan != nullptr && remote.link == vxlan->index;
    if (here) foundHosts[addressOf(remote.mac)] = hostText(remote.host).cStr();
  }
  for (auto& one : net.forwardings()) foundPorts[addressOf(one.mac)] = inside.nameOf(one.port);
  for (auto& one : net.permanentNeighbours()) {
    bool here = bridge != nullptr && one.link == bridge->index;
    if (here) foundNeighbours[one.address] = macText(one.mac).cStr();
  }
  compareWays(kj::str("forwarding entry (host) of"), hosts, foundHosts, findings);
  compareWays(kj::str("forwarding entry (port) of"), ports, foundPorts, findings);
  compareWays(kj::str("neighbour"), neighbours, foundNeighbours, findings);
  auto kind = kindOf(*wanted.facts);
  if (!kind.isIpv6()) return;
  foundNeighbours.clear();
  for (auto& one : net.permanentNeighbours6()) {
    auto owner = kind.twins()->ownerOf(one.address);
    bool here = bridge != nullptr && one.link == bridge->index;
    if (here && owner) foundNeighbours[*owner] = macText(one.mac).cStr();
  }
  compareWays(kj::str("neighbour"), neighbours, foundNeighbours, findings, kind);
}

void checkLeg(const Layout& layout, const Leg& leg, const NetworkFacts& facts,
              const Inside& network, Findings& findings) {
  auto port = network.find(layout.portOf(leg.taskId));
  auto hairpin = [](bool on) { return on ? ", hairpin" : ""; };
  auto found = portText(network, port);
  if (port != nullptr) found = kj::str(found, hairpin(port->hairpin));
  findings.compare(kj::str("port of task ", leg.taskId.c_str()),
                   kj::str(portText(facts.mtu), hairpin(true)), found);
  auto object = kj::str("leg ", leg.device.c_str(), " of task ", leg.taskId.c_str());
  auto text = [](bool up, const Mac& mac, kj::StringPtr address) {
    return kj::str(up ? "up, " : "down, ", macText(mac), ", ",
                   address.size() > 0 ? address : "no address"_kj);
  };
  auto address = subnetText(Ipv4Subnet{leg.address, leg.prefix});
  auto expected = text(true, macOf(leg.address), address);
  if (!isPinned(leg.namespacePath.c_str())) {
    return findings.compare(object, expected, "");  // with all that was in it
  }
  inNamespace(leg.namespacePath.c_str(), [&] {
    Rtnetlink net;
    Inside inside(net);
    auto device = inside.find(leg.device);
    auto there = device == nullptr ? kj::str()
                                   : text(device->up, device->mac,
                                          inside.addressOn(device, leg.address, leg.prefix));
    findings.compare(object, expected, there);
    auto kind = kindOf(facts);
    if (kind.isIpv6()) {
      auto twin = kind.twinOf(leg.address);
      findings.compare(kj::str("IPv6 address of ", object),
                       subnetText(Ipv6Subnet{twin, kind.prefix()}),
                       inside.addressOn(device, twin, kind.prefix()));
    }
    if (leg.wayOut == WayOut::OPEN) return;
    bool closed = isClosed(leg.wayOut, net);
    findings.compare(kj::str("way out of task ", leg.taskId.c_str()), "closed",
                     closed ? "closed" : "open");
  });
}

void checkAnswered(const SandboxChange& wanted, const Inside& inside, Findings& findings) {
  auto kind = kindOf(*wanted.facts);
  Ways expected, found, expected6, found6;
  for (auto& [address, backends] : wanted.balancing.services) {
    if (!backends) continue;
    expected[address] = "on lo";
    if (kind.isIpv6()) expected6[address] = kj::str("on ", BRIDGE).cStr();
  }
  for (auto& one : inside.addresses) {
    bool ours = one.link == LOOPBACK_INDEX && one.address != LOOPBACK_ADDRESS;
    if (ours && one.prefix == ONE_ADDRESS) found[one.address] = "on lo";
  }
  for (auto& one : inside.addresses6) {
    auto owner = kind.isIpv6() ? kind.twins()->ownerOf(one.address) : std::nullopt;
    bool ours = owner && inside.nameOf(one.link) == BRIDGE && one.prefix == ONE_ADDRESS6;
    if (ours) found6[*owner] = kj::str("on ", BRIDGE).cStr();
  }
  compareWays(kj::str("virtual address"), expected, found, findings);
  compareWays(kj::str("virtual address"), expected6, found6, findings, kind);
}

void checkSwitches(bool ipv6, Findings& findings) {
  auto word = [](bool on) { return on ? "on"_kj : "off"_kj; };
  findings.compare("bridge-nf-call-iptables", "on", word(isOn(BRIDGE_FILTERS)));
  findings.compare(kj::str("forwarding of ", BRIDGE), "on", word(isOn(BRIDGE_FORWARDS)));
  if (!ipv6) return;
  findings.compare("bridge-nf-call-ip6tables", "on", word(isOn(BRIDGE_FILTERS6)));
  findings.compare("forwarding of IPv6", "on", word(isOn(FORWARDS6)));
}

}  // namespace

Findings checkNetwork(const Layout& layout, const std::string& network,
                      const SandboxChange& wanted) {
  Findings findings(network);
  auto path = layout.pinOf(network);
  bool pinned = isPinned(path.c_str());
  findings.compare("namespace of the network", "present", pinned ? "present" : "");
  if (!pinned) return findings;
  inNamespace(path.c_str(), [&] {
    Rtnetlink net;
    Inside inside(net);
    checkDevices(layout, wanted, inside, findings);
    checkWays(layout, wanted, net, inside, findings);
    for (auto& leg : wanted.plugs) {
      checkLeg(layout, leg, *wanted.facts, inside, findings);
    }
    checkAnswered(wanted, inside, findings);
    checkSwitches(wanted.facts->ipv6.has_value(), findings);
    checkBalancer(layout.balancer, {}, wanted.balancing, findings);
    if (!wanted.facts->ipv6) return;
    checkBalancer(layout.balancer, kindOf(*wanted.facts), wanted.balancing, findings);
  });
  return findings;
}

}  // namespace orch::network::overlay
