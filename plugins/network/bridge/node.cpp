#include "node.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "lib/claims.h"
#include "lib/kernel-switch.h"
#include "lib/nft-batch.h"
#include "orch/fail.h"

namespace orch::network::bridge {

namespace {

// What tells our bridge from one that somebody else made.
constexpr kj::StringPtr ALIAS = "orch network.bridge"_kj;
constexpr Ipv6Subnet LINK_RANGE{{0xfe, 0x80}, 10};

void refuseOverlap(Rtnetlink& net, const Layout& layout, uint32_t bridge) {
  for (auto& route : net.routes()) {
    // A wider route leaves ours its way, since the longer prefix wins.
    if (route.link == bridge || route.to.prefix < layout.subnet.prefix) continue;
    if (!layout.subnet.contains(route.to.network)) continue;
    std::string device = "?";
    for (auto& link : net.links()) {
      if (link.index == route.link) device = link.name;
    }
    fail(kj::str("the network '", layout.network.c_str(), "' cannot use the subnet ",
                 subnetText(layout.subnet), ": the node has a route to ", subnetText(route.to),
                 " by '", device.c_str(), "'; set 'subnet' of the plugin to one that is free"));
  }
}

// The same, of IPv6.
void refuseOverlap6(Rtnetlink& net, const Layout& layout, uint32_t bridge) {
  auto& range = layout.twins->range;
  for (auto& route : net.routes6()) {
    if (route.link == bridge || route.to.prefix < range.prefix) continue;
    if (!range.contains(route.to.network)) continue;
    fail(kj::str("the network '", layout.network.c_str(), "' cannot use the subnet ",
                 subnetText(range), ": the node has a route to ", subnetText(route.to),
                 "; set 'subnet6' of the plugin to one that is free"));
  }
}

bool hasAddress(Rtnetlink& net, uint32_t link) {
  auto all = net.addresses();
  return std::any_of(all.begin(), all.end(), [&](auto& address) { return address.link == link; });
}

// Also one whose maker was killed before it could say so: it has the MAC, and no address yet.
bool isOurs(Rtnetlink& net, const Link& bridge, const Layout& layout) {
  if (bridge.kind != "bridge") return false;
  if (bridge.alias == ALIAS.cStr()) return true;
  return bridge.alias.empty() && bridge.mac == macOf(layout.gateway) &&
         !hasAddress(net, bridge.index);
}

// After other settings. A bridge of somebody else's is used as it is.
void correct(Rtnetlink& net, const Layout& layout, const Link& bridge) {
  if (!isOurs(net, bridge, layout)) return;
  if (bridge.alias.empty()) net.run(setAlias(bridge.index, ALIAS));
  if (bridge.mtu != layout.mtu) net.run(setMtu(bridge.index, layout.mtu));
  for (auto& address : net.addresses()) {
    if (address.link != bridge.index) continue;
    if (address.address == layout.gateway && address.prefix == layout.subnet.prefix) continue;
    net.run(deleteAddress(address));
  }
  for (auto& address : net.addresses6()) {
    if (address.link != bridge.index || LINK_RANGE.contains(address.address)) continue;
    bool wanted = layout.twins && address.address == layout.gateway6() &&
                  address.prefix == layout.twins->range.prefix;
    if (!wanted) net.run(deleteAddress(address));
  }
}

void ensureIpv6(Rtnetlink& net, const Layout& layout, uint32_t bridge) {
  // A task could be one.
  auto switches = kj::str("/proc/sys/net/ipv6/conf/", layout.bridge.c_str());
  switchTo(kj::str(switches, "/accept_ra"), '0');
  switchOn(kj::str(switches, "/keep_addr_on_down"));
  auto prefix = layout.twins->range.prefix;
  for (auto& address : net.addresses6()) {
    bool same = address.link == bridge && address.address == layout.gateway6();
    if (same && address.prefix == prefix) return;
  }
  refuseOverlap6(net, layout, bridge);
  net.run(newAddress(bridge, layout.gateway6(), prefix));
}

void removeBridge(Rtnetlink& net, const Layout& layout) {
  auto bridge = net.link(layout.bridge.c_str());
  if (bridge && isOurs(net, *bridge, layout)) net.run(deleteLink(bridge->index));
}

void removeTable(const Layout& layout) {
  kj::StringPtr table = layout.table.c_str();
  NftBatch(table).addTable().deleteTable().commit();
  if (nftTableExists(table, NftFamily::IP6)) {
    NftBatch(table, NftFamily::IP6).deleteTable().commit();
  }
}

// The bridge and the table that this node has made, one name a line.
std::string namesFile(const Layout& layout) { return layout.folder + "/node"; }

Layout lastNames(const Layout& layout) {
  Layout last = layout;
  std::ifstream file(namesFile(layout));
  std::string bridge, table;
  if (std::getline(file, bridge) && std::getline(file, table)) {
    last.bridge = bridge;
    last.table = table;
  }
  return last;
}

// What the last run made under other names, unless it is another instance's by now.
void removeLast(Rtnetlink& net, const Layout& layout) {
  auto last = lastNames(layout);
  bool renamed = last.bridge != layout.bridge || last.table != layout.table;
  if (renamed) {
    auto claimed = [&](kj::StringPtr what, const std::string& name) {
      return Claims().take(what, name) == nullptr;
    };
    if (last.bridge != layout.bridge && claimed("bridge", last.bridge)) removeBridge(net, last);
    if (last.table != layout.table && claimed("table", last.table)) removeTable(last);
  }
  if (!renamed && std::filesystem::exists(namesFile(layout))) return;
  std::ofstream(namesFile(layout)) << layout.bridge << "\n" << layout.table << "\n";
}

}  // namespace

Link ensureBridge(Rtnetlink& net, const Layout& layout) {
  kj::StringPtr name = layout.bridge.c_str();
  auto found = net.link(name);
  if (!found) {
    refuseOverlap(net, layout, 0);
    int error = net.attempt(newBridge(name, macOf(layout.gateway), layout.mtu));
    if (error != 0 && error != EEXIST) {
      fail(kj::str("cannot make the bridge '", name, "': ", strerror(error)));
    }
    found = net.link(name);
    KJ_ASSERT(found.has_value(), "the bridge that was made is gone", name);
  }
  if (found->kind != "bridge") {
    fail(kj::str("the network '", layout.network.c_str(), "' cannot use the device '", name,
                 "': it is no bridge; remove it, or set 'bridge' of the plugin to another name"));
  }
  correct(net, layout, *found);
  bool addressed = false;
  for (auto& address : net.addresses()) {
    addressed |= address.link == found->index && address.address == layout.gateway &&
                 address.prefix == layout.subnet.prefix;
  }
  if (!addressed) {
    refuseOverlap(net, layout, found->index);
    net.run(newAddress(found->index, layout.gateway, layout.subnet.prefix));
  }
  if (!found->up) net.run(linkUp(found->index));
  if (layout.twins) ensureIpv6(net, layout, found->index);
  switchOn(kj::str("/proc/sys/net/ipv4/conf/", name, "/route_localnet"));
  return *found;
}

void prepareNode(const Layout& layout) {
  std::filesystem::create_directories(layout.records());
  std::filesystem::create_directories(layout.pins());
  Rtnetlink net;
  removeLast(net, layout);
  ensureBridge(net, layout);
  switchOn(kj::str("/proc/sys/net/ipv4/ip_forward"));
  if (layout.twins) forwardIpv6();
}

void removeNode(const Layout& layout) {
  removeTable(layout);
  Rtnetlink net;
  removeBridge(net, layout);
}

}  // namespace orch::network::bridge
