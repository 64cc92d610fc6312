#include "mesh.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>

#include <algorithm>

#include "lib/conntrack.h"
#include "lib/kernel-switch.h"
#include "lib/rtnetlink.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::network::ingress {

namespace {

constexpr uint32_t VXLAN_BYTES = 50;  // before each packet: Ethernet, IPv4, UDP and VXLAN
constexpr uint32_t USUAL_MTU = 1500;
// Of what meshAddressOf answers: all nodes are on the mesh, marked or not. What this node itself
// sends is routed once before it is marked.
constexpr uint8_t NODES_PREFIX6 = 96;
// The dummy address of RFC 7600: what goes by the device needs some gateway, and one is enough.
constexpr Ipv4 ANY_GATEWAY = 0xc0000008;
constexpr kj::StringPtr ALIAS = "orch network.ingress"_kj;

void tolerate(int error, int fine, kj::StringPtr what) {
  if (error != 0 && error != fine) fail(kj::str(what, ": ", strerror(error)));
}

// Of the device that has the address.
uint32_t mtuTo(Rtnetlink& net, Ipv4 own) {
  for (auto& address : net.addresses()) {
    if (address.address != own) continue;
    for (auto& link : net.links()) {
      if (link.index == address.link) return link.mtu - VXLAN_BYTES;
    }
  }
  return USUAL_MTU - VXLAN_BYTES;
}

// Clients' packets come by the mesh, and their addresses are not on it: at most the kernel may ask
// that there is some way to them (2). The setting of the device counts only if it is the stricter.
void allowAnySource(kj::StringPtr device) {
  bool strict = isOn("/proc/sys/net/ipv4/conf/all/rp_filter");
  switchTo(kj::str("/proc/sys/net/ipv4/conf/", device, "/rp_filter"), strict ? '2' : '0');
}

struct Ensured {
  Link device;
  bool made = false;
};
Ensured ensureDevice(Rtnetlink& net, const Layout& layout, const MeshFacts& facts) {
  kj::StringPtr name = layout.device.c_str();
  VxlanSpec spec;
  spec.name = layout.device;
  spec.facts = {MESH_VNI, facts.own, layout.dataPort};
  spec.mac = macOf(facts.own);
  spec.learning = true;
  spec.arp = false;
  spec.mtu = mtuTo(net, facts.own);
  auto found = net.link(name);
  if (found && found->kind != "vxlan") {
    fail(kj::str("cannot use the device '", name,
                 "': it is no VXLAN device; remove it, or set 'device' of the plugin to another "
                 "name"));
  }
  bool same = found && found->vxlan == spec.facts && found->mac == spec.mac;
  if (found && !same) net.run(deleteLink(found->index));
  if (!same) {
    int error = net.attempt(newVxlan(spec));
    if (error == EEXIST || error == EADDRINUSE) {
      fail(kj::str("cannot make the device '", name, "': another program has VXLAN ", MESH_VNI,
                   " or UDP port ", layout.dataPort,
                   "; set 'dataPort' of the plugin to another one, on all hosts"));
    }
    tolerate(error, 0, kj::str("cannot make the device '", name, "'"));
    found = net.link(name);
    KJ_ASSERT(found.has_value(), "the device that was made is gone", name);
    net.run(setAlias(found->index, ALIAS));
  } else if (found->mtu != spec.mtu) {
    net.run(setMtu(found->index, spec.mtu));
  }
  return {*found, !same};
}

// True if it was not there. Before the device is up: nothing leaves it that has not been told where
// to.
bool ensureEgress(const Layout& layout, bool newDevice, bool first) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  bool there =
      !newDevice && nftIsWhole(socket, layout.table.c_str(), {"egress"}, NftFamily::NETDEV);
  if (there && !first) return false;
  if (there) {
    NftBatch again(layout.table.c_str(), NftFamily::NETDEV);
    buildEgress(again, layout);
    if (attemptNow([&] { again.commit(socket); }).ok()) return false;
  }
  NftBatch anew(layout.table.c_str(), NftFamily::NETDEV);
  anew.addTable().deleteTable();
  buildEgress(anew, layout);
  anew.commit(socket);
  return !there;
}

// These subnets are never reached by the mesh.
void keepOut(Rtnetlink& net, const std::vector<Ipv4Subnet>& before,
             const std::vector<Ipv4Subnet>& after) {
  for (auto& subnet : before) {
    if (std::find(after.begin(), after.end(), subnet) != after.end()) continue;
    tolerate(net.attempt(deleteThrowRoute(MESH_TABLE, subnet)), ESRCH, "cannot remove a route");
  }
  for (auto& subnet : after) net.run(newThrowRoute(MESH_TABLE, subnet));
}
}  // namespace

namespace {
// True if its rule was not there.
bool prepareIpv6(Rtnetlink& net, const Layout& layout, const MeshFacts& facts, uint32_t device) {
  switchTo(kj::str("/proc/sys/net/ipv6/conf/", layout.device.c_str(), "/accept_ra"), '0');
  forwardIpv6();
  net.run(newAddress(device, meshAddressOf(facts.own), NODES_PREFIX6),
          newDefaultRoute6In(MESH_TABLE, device));
  int error = net.attempt(newMarkRule(MESH_MARK, MESH_TABLE, true));
  tolerate(error, EEXIST, "cannot set the rule of the mesh");
  return error == 0;
}
}  // namespace

bool prepareMesh(const Layout& layout, const MeshFacts& before, const MeshFacts& facts,
                 bool first) {
  Rtnetlink net;
  auto [device, made] = ensureDevice(net, layout, facts);
  bool lacking = ensureEgress(layout, made, first) || made;
  if (!device.up) net.run(linkUp(device.index));
  allowAnySource(layout.device.c_str());
  switchOn(kj::str("/proc/sys/net/ipv4/conf/", layout.device.c_str(), "/route_localnet"));
  switchOn(kj::str("/proc/sys/net/ipv4/ip_forward"));
  net.run(newDefaultRouteIn(MESH_TABLE, device.index, ANY_GATEWAY));
  keepOut(net, before.inside, facts.inside);
  int error = net.attempt(newMarkRule(MESH_MARK, MESH_TABLE));
  tolerate(error, EEXIST, "cannot set the rule of the mesh");
  if (layout.ipv6) lacking |= prepareIpv6(net, layout, facts, device.index);
  return lacking || error == 0;
}

bool meshIsInUse(const Layout& layout, const std::vector<Ipv4>& nodes) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  if (anyOpen(socket, nodes)) return true;
  if (!layout.ipv6) return false;
  return anyOpen(socket, nodes, [&](const Ipv6& address) {
    auto known = std::find_if(nodes.begin(), nodes.end(),
                              [&](auto node) { return meshAddressOf(node) == address; });
    return known == nodes.end() ? 0 : *known;
  });
}

bool meshIsThere(const Layout& layout) {
  auto device = Rtnetlink().link(layout.device.c_str());
  return device && device->alias == ALIAS.cStr();
}

void removeMesh(const Layout& layout, const MeshFacts& facts) {
  Rtnetlink net;
  auto device = net.link(layout.device.c_str());
  if (device && device->alias == ALIAS.cStr()) net.run(deleteLink(device->index));
  tolerate(net.attempt(deleteMarkRule(MESH_MARK, MESH_TABLE)), ENOENT, "cannot remove a rule");
  if (layout.ipv6) {
    int error = net.attempt(deleteMarkRule(MESH_MARK, MESH_TABLE, true));
    tolerate(error, ENOENT, "cannot remove a rule");
  }
  keepOut(net, facts.inside, {});
  NftBatch(layout.table.c_str(), NftFamily::NETDEV).addTable().deleteTable().commit();
}

void meetNodes(const Layout& layout, const std::set<Ipv4>& nodes) {
  if (nodes.empty()) return;
  Rtnetlink net;
  auto device = net.link(layout.device.c_str());
  if (!device) fail(kj::str("the device '", layout.device.c_str(), "' is gone"));
  std::vector<NetlinkMessage> messages;
  for (auto node : nodes) messages.push_back(newRemoteMac({device->index, macOf(node), node}));
  net.runAll(messages);
}

}  // namespace orch::network::ingress
