#include "wiring.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>

#include <filesystem>
#include <map>
#include <set>

#include "lib/kernel-switch.h"
#include "lib/netns.h"
#include "lib/record-files.h"
#include "lib/rtnetlink.h"
#include "node.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "rules.h"

namespace orch::network::bridge {

namespace {

// For devices that are about to be deleted together; any number that nobody uses will do.
constexpr uint32_t DOOMED_GROUP = 0x6f726368;
constexpr kj::StringPtr HEARS_ROUTERS = "/proc/sys/net/ipv6/conf/eth0/accept_ra"_kj;

// With br_netfilter, bridged frames pass the IP tables as well, and one that a task sends to a port
// of its own is turned round in the bridge, never reaching the node.
bool bridgeFilters() { return isOn("/proc/sys/net/bridge/bridge-nf-call-iptables"); }

// From Linux 6.8 on, to look at a device is enough; before, its workers take a moment.
void waitUntilUsable(Rtnetlink& net, const VethSpec& pair, NewNamespace& made) {
  auto leg = made.inside->link(pair.peerName.c_str());
  if (!leg || !leg->operational) {
    inNamespace(made.handle.get(), [&] { waitForLink(pair.peerName.c_str()); });
  }
  auto port = net.link(pair.hostName.c_str());
  if (!port || !port->operational || !port->forwarding) waitForLink(pair.hostName.c_str());
}

}  // namespace

namespace {

// `inside(work)` runs it in the task's namespace. The task hears of no routers: another task could
// be one.
template <typename F>
void giveIpv6(Rtnetlink& net, const Layout& layout, const TaskRecord& record, uint32_t bridge,
              F&& inside) {
  auto twin = layout.twins->of(record.address);
  net.run(newNeighbour(bridge, twin, macOf(record.address)));
  inside([&] {
    if (!isIn(WITHOUT_IPV6, '0')) return;
    switchTo(HEARS_ROUTERS, '0');
    Rtnetlink own;
    auto leg = own.link("eth0");
    if (!leg || !leg->up) return;
    own.run(newAddress(leg->index, twin, layout.twins->range.prefix),
            newDefaultRoute(leg->index, layout.gateway6()));
  });
}

// The pair of devices; the index of the node's end.
uint32_t newPair(Rtnetlink& net, const Layout& layout, const VethSpec& pair) {
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
  return port->index;
}

void wireUp(const Layout& layout, const TaskRecord& record, const Step& step) {
  auto& taskId = record.taskId;
  writeRecord(layout.records(), record, step);
  auto path = layout.pinOf(taskId);
  dropPin(path.c_str(), step);  // of a run that ended in between
  auto made = makeNamespace();

  Rtnetlink net;
  auto bridge = net.link(layout.bridge.c_str());
  VethSpec pair;
  pair.hostName = layout.deviceOf(taskId);
  pair.peerName = "eth0";
  pair.peerMac = macOf(record.address);
  pair.mtu = layout.mtu;
  pair.master = bridge ? bridge->index : ensureBridge(net, layout).index;
  pair.peerNamespace = made.handle;
  if (step) step();
  uint32_t port = newPair(net, layout, pair);
  // The node needs not ask for the address: with br_netfilter, packets that wait for the answer may
  // get lost.
  if (step) step();
  net.run(newForwarding(port, pair.peerMac),
          newNeighbour(pair.master, record.address, pair.peerMac));
  if (step) step();
  if (bridgeFilters()) net.run(setHairpin(port));

  auto leg = made.inside->link(pair.peerName.c_str());
  KJ_ASSERT(leg.has_value(), "the device that was made is gone", pair.peerName.c_str());
  if (step) step();
  made.inside->run(linkUp(LOOPBACK_INDEX), linkUp(leg->index),
                   newAddress(leg->index, record.address, layout.subnet.prefix),
                   newDefaultRoute(leg->index, layout.gateway));
  waitUntilUsable(net, pair, made);
  if (layout.twins) {
    if (step) step();
    auto inside = [&](auto work) { inNamespace(made.handle.get(), work); };
    giveIpv6(net, layout, record, pair.master, inside);
  }
  // Last: until then all of it goes with this process, and what is pinned is whole.
  pin(made.handle, path.c_str(), step);
}

}  // namespace

void wire(const Layout& layout, const TaskRecord& record, const Step& step) {
  auto wired = attemptNow([&] { wireUp(layout, record, step); });
  if (wired.ok()) return;
  auto undone = attemptNow([&] { unwire(layout, record.taskId, record.address, step); });
  if (undone.ok()) kj::throwFatalException(kj::mv(wired.error()));
  fail(kj::str(wired.message(), "; nor could it be undone: ", undone.message()));
}

void unwire(const Layout& layout, const std::string& taskId, Ipv4 address, const Step& step) {
  dropPin(layout.pinOf(taskId).c_str(), step);
  if (address != 0) {
    if (step) step();
    Rtnetlink net;
    auto bridge = net.link(layout.bridge.c_str());
    int error = bridge ? net.attempt(deleteNeighbour(bridge->index, address)) : 0;
    KJ_ASSERT(error == 0 || error == ENOENT, "cannot forget a neighbour", strerror(error));
    if (bridge && layout.twins)
      net.attempt(deleteNeighbour(bridge->index, layout.twins->of(address)));
  }
  if (step) step();
  removeRecordFile(layout.records(), taskId);
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
  std::set<std::string> listed;
  for (auto& link : net.links()) {
    if (link.kind != "veth" || link.name.rfind(DEVICE_PREFIX, 0) != 0) continue;
    listed.insert(link.name);
    if (bridge && link.master == bridge->index) found.ports.push_back(link.name);
  }
  // A list that others changed meanwhile may lack some; a task is not given up for that.
  for (auto& taskId : found.pins) {
    auto device = layout.deviceOf(taskId);
    if (listed.count(device) == 0 && net.link(device.c_str())) listed.insert(device);
  }
  found.devices.assign(listed.begin(), listed.end());
  for (auto& neighbour : net.permanentNeighbours()) {
    if (bridge && neighbour.link == bridge->index) found.neighbours.push_back(neighbour.address);
  }
  return found;
}

std::vector<std::string> portsOf(const Layout& layout) {
  Rtnetlink net;
  auto bridge = net.link(layout.bridge.c_str());
  std::vector<std::string> ports;
  for (auto& link : net.links()) {
    bool port = link.kind == "veth" && link.name.rfind(DEVICE_PREFIX, 0) == 0;
    if (bridge && port && link.master == bridge->index) ports.push_back(link.name);
  }
  return ports;
}

void forgetNeighbours(const Layout& layout, const std::vector<Ipv4>& addresses) {
  Rtnetlink net;
  auto bridge = net.link(layout.bridge.c_str());
  if (!bridge) return;
  for (auto address : addresses) {
    int error = net.attempt(deleteNeighbour(bridge->index, address));
    KJ_ASSERT(error == 0 || error == ENOENT, "cannot forget a neighbour", strerror(error));
    bool twin = layout.twins && layout.subnet.contains(address);
    if (twin) net.attempt(deleteNeighbour(bridge->index, layout.twins->of(address)));
  }
}

void wireIpv6(const Layout& layout, const TaskRecord& record, uint32_t bridge) {
  auto path = layout.pinOf(record.taskId);
  if (!layout.twins || !isPinned(path.c_str())) return;
  Rtnetlink net;
  giveIpv6(net, layout, record, bridge, [&](auto work) { inNamespace(path.c_str(), work); });
}

void reconnect(const Layout& layout, const std::vector<TaskRecord>& records) {
  Rtnetlink net;
  uint32_t bridge = ensureBridge(net, layout).index;
  std::map<std::string, const TaskRecord*> wanted;
  for (auto& record : records) wanted[layout.deviceOf(record.taskId)] = &record;
  for (auto& link : net.links()) {
    auto found = wanted.find(link.name);
    if (found == wanted.end()) continue;
    auto& record = *found->second;
    if (link.master != bridge) {
      auto mac = macOf(record.address);
      net.run(setMaster(link.index, bridge), newForwarding(link.index, mac),
              newNeighbour(bridge, record.address, mac));
    }
    wireIpv6(layout, record, bridge);
    if (link.mtu == layout.mtu) continue;
    net.run(setMtu(link.index, layout.mtu));
    inNamespace(layout.pinOf(record.taskId).c_str(), [&] {
      Rtnetlink inside;
      auto leg = inside.link("eth0");
      if (leg) inside.run(setMtu(leg->index, layout.mtu));
    });
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

namespace {
template <typename Build>
void write(NetlinkSocket& socket, const Layout& layout, NftFamily family, Build&& build) {
  kj::StringPtr table = layout.table.c_str();
  NftBatch batch(table, family);
  build(batch, layout, nftChains(socket, table, family));
  if (attemptNow([&] { batch.commit(socket); }).ok()) return;
  // Its chains are not like ours: of another version, or somebody changes it.
  NftBatch anew(table, family);
  anew.addTable().deleteTable();
  build(anew, layout, std::vector<std::string>());
  anew.commit(socket);
}
}  // namespace

void writeTable(const Layout& layout) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  write(socket, layout, NftFamily::IP, buildTable);
  if (layout.twins) {
    write(socket, layout, NftFamily::IP6, buildTable6);
  } else if (nftTableExists(layout.table.c_str(), NftFamily::IP6)) {  // after other settings
    NftBatch(layout.table.c_str(), NftFamily::IP6).deleteTable().commit();
  }
}

bool mendTable(const Layout& layout) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  kj::StringPtr table = layout.table.c_str();
  bool whole = nftIsWhole(socket, table, tableChains());
  if (layout.twins) whole &= nftIsWhole(socket, table, tableChains(true), NftFamily::IP6);
  if (!whole) writeTable(layout);
  return !whole;
}

}  // namespace orch::network::bridge
