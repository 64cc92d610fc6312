#include "wiring.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "lib/netns.h"
#include "lib/rtnetlink.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "rules.h"

namespace orch::network::bridge {

namespace {

constexpr uint32_t LOOPBACK_INDEX = 1;  // in every namespace
// What tells our bridge from one that somebody else made.
constexpr kj::StringPtr ALIAS = "orch network.bridge"_kj;
// For devices that are about to be deleted together; any number that nobody uses will do.
constexpr uint32_t DOOMED_GROUP = 0x6f726368;

// Only if it is not so already: /proc/sys may be mounted read-only where all is set up.
void setSwitch(const kj::String& path) {
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_RDONLY | O_CLOEXEC), path);
  kj::AutoCloseFd reader(fd);
  char now = 0;
  KJ_SYSCALL(read(fd, &now, 1), path);
  if (now == '1') return;
  int out = open(path.cStr(), O_WRONLY | O_CLOEXEC);
  kj::AutoCloseFd writer(out);
  if (out < 0 || write(out, "1", 1) != 1) {
    fail(
        kj::str("cannot write 1 to ", path, ": ", strerror(errno), "; set it before orchd starts"));
  }
}

// With br_netfilter, bridged frames pass the IP tables as well, and one that a task sends to a port
// of its own is turned round in the bridge, never reaching the node.
bool bridgeFilters() {
  int fd = open("/proc/sys/net/bridge/bridge-nf-call-iptables", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  kj::AutoCloseFd reader(fd);
  char now = 0;
  return read(fd, &now, 1) == 1 && now == '1';
}

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
    if (error == 0) net.run(setAlias(found->index, ALIAS));
  }
  if (found->kind != "bridge") {
    fail(kj::str("the network '", layout.network.c_str(), "' cannot use the device '", name,
                 "': it is no bridge; remove it, or set 'bridge' of the plugin to another name"));
  }
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
  setSwitch(kj::str("/proc/sys/net/ipv4/conf/", name, "/route_localnet"));
  return *found;
}

// From Linux 6.8 on, to look at a device is enough; before, its workers take a moment.
void waitUntilUsable(Rtnetlink& net, const VethSpec& pair, Rtnetlink& inside,
                     const std::string& pin) {
  auto leg = inside.link(pair.peerName.c_str());
  if (!leg || !leg->operational) {
    inNamespace(pin.c_str(), [&] { waitForLink(pair.peerName.c_str()); });
  }
  auto port = net.link(pair.hostName.c_str());
  if (!port || !port->operational || !port->forwarding) waitForLink(pair.hostName.c_str());
}

}  // namespace

void prepareNode(const Layout& layout) {
  std::filesystem::create_directories(layout.records());
  std::filesystem::create_directories(layout.pins());
  Rtnetlink net;
  ensureBridge(net, layout);
  setSwitch(kj::str("/proc/sys/net/ipv4/ip_forward"));
}

void removeNode(const Layout& layout) {
  NftBatch batch(layout.table.c_str());
  batch.addTable().deleteTable().commit();
  Rtnetlink net;
  auto bridge = net.link(layout.bridge.c_str());
  if (bridge && bridge->alias == ALIAS.cStr()) net.run(deleteLink(bridge->index));
}

void wire(const Layout& layout, const TaskRecord& record) {
  auto& taskId = record.taskId;
  KJ_ON_SCOPE_FAILURE(unwire(layout, taskId, record.address));
  writeRecord(layout.records(), record);
  auto pin = layout.pinOf(taskId);
  dropPin(pin.c_str());  // of a run that ended in between
  auto made = makeNamespace(pin.c_str());

  Rtnetlink net;
  auto bridge = net.link(layout.bridge.c_str());
  VethSpec pair;
  pair.hostName = layout.deviceOf(taskId);
  pair.peerName = "eth0";
  pair.peerMac = macOf(record.address);
  pair.mtu = layout.mtu;
  uint32_t master = bridge ? bridge->index : ensureBridge(net, layout).index;
  pair.master = master;
  pair.peerNamespace = made.handle;
  int error = net.attempt(newVeth(pair));
  if (error == EEXIST) {
    // The same task was here a moment ago, and the kernel is still at its clean-up.
    removeDevices({pair.hostName});
    error = net.attempt(newVeth(pair));
  }
  if (error != 0) {
    fail(kj::str("cannot make the network device '", pair.hostName.c_str(), "' on the bridge '",
                 layout.bridge.c_str(), "': ", strerror(error)));
  }
  auto port = net.link(pair.hostName.c_str());
  KJ_ASSERT(port.has_value(), "the device that was made is gone", pair.hostName.c_str());
  // The node needs not ask for the address: with br_netfilter, packets that wait for the answer may
  // get lost.
  net.run(newForwarding(port->index, pair.peerMac),
          newNeighbour(master, record.address, pair.peerMac));
  if (bridgeFilters()) net.run(setHairpin(port->index));

  auto leg = made.inside->link(pair.peerName.c_str());
  KJ_ASSERT(leg.has_value(), "the device that was made is gone", pair.peerName.c_str());
  made.inside->run(linkUp(LOOPBACK_INDEX), linkUp(leg->index),
                   newAddress(leg->index, record.address, layout.subnet.prefix),
                   newDefaultRoute(leg->index, layout.gateway));
  waitUntilUsable(net, pair, *made.inside, pin);
}

void unwire(const Layout& layout, const std::string& taskId, Ipv4 address) {
  dropPin(layout.pinOf(taskId).c_str());
  if (address != 0) {
    Rtnetlink net;
    auto bridge = net.link(layout.bridge.c_str());
    int error = bridge ? net.attempt(deleteNeighbour(bridge->index, address)) : 0;
    KJ_ASSERT(error == 0 || error == ENOENT, "cannot forget a neighbour", strerror(error));
  }
  removeRecord(layout.records(), taskId);
}

Survey survey(const Layout& layout) {
  Survey found;
  for (auto& entry : std::filesystem::directory_iterator(layout.pins())) {
    auto taskId = entry.path().filename().string();
    if (isPinned(entry.path().c_str())) {
      found.pins.push_back(taskId);
    } else {
      found.strays.push_back(taskId);
    }
  }
  for (auto& entry : std::filesystem::directory_iterator(layout.records())) {
    auto taskId = entry.path().filename().string();
    if (!isPinned(layout.pinOf(taskId).c_str())) found.strays.push_back(taskId);
  }
  Rtnetlink net;
  auto bridge = net.link(layout.bridge.c_str());
  for (auto& link : net.links()) {
    if (link.kind != "veth" || link.name.rfind(DEVICE_PREFIX, 0) != 0) continue;
    found.devices.push_back(link.name);
    if (bridge && link.master == bridge->index) found.ports.push_back(link.name);
  }
  return found;
}

void reconnect(const Layout& layout, const std::vector<TaskRecord>& records) {
  Rtnetlink net;
  uint32_t bridge = ensureBridge(net, layout).index;
  std::map<std::string, Ipv4> wanted;
  for (auto& record : records) wanted[layout.deviceOf(record.taskId)] = record.address;
  for (auto& link : net.links()) {
    auto found = wanted.find(link.name);
    if (found == wanted.end() || link.master == bridge) continue;
    auto mac = macOf(found->second);
    net.run(setMaster(link.index, bridge), newForwarding(link.index, mac),
            newNeighbour(bridge, found->second, mac));
  }
}

void removeDevices(const std::vector<std::string>& devices) {
  Rtnetlink net;
  std::set<std::string> doomed(devices.begin(), devices.end());
  bool any = false;
  for (auto& link : net.links()) {
    if (doomed.count(link.name) > 0) any |= net.attempt(setGroup(link.index, DOOMED_GROUP)) == 0;
  }
  if (!any) return;
  int error = net.attempt(deleteGroup(DOOMED_GROUP));
  KJ_ASSERT(error == 0 || error == ENODEV, "cannot delete network devices", strerror(error));
}

std::string apply(const Layout& layout, NetlinkSocket& socket, const RuleChange& change) {
  for (auto& record : change.records) writeRecord(layout.records(), record);
  NftBatch batch(layout.table.c_str());
  if (change.rebuild) {
    buildTable(batch, layout, change.ports);
  } else {
    for (auto& port : change.ports) buildChange(batch, port);
  }
  batch.commit(socket);
  if (change.forget.empty()) return "";
  auto forgotten = attemptNow([&] { forgetFlows(socket, change.forget); });
  return forgotten.ok() ? "" : forgotten.message().cStr();
}

}  // namespace orch::network::bridge
