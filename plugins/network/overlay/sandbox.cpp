#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <unistd.h>

#include <set>

#include "lib/kernel-switch.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "way-out.h"

namespace orch::network::overlay {

namespace {

// For devices that are about to be deleted together; any number that nobody uses will do.
constexpr uint32_t DOOMED_GROUP = 0x6f726368;

kj::AutoCloseFd openNamespace(const std::string& path, kj::StringPtr whose) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(kj::str("cannot enter the network namespace of ", whose, ": ", strerror(errno)));
  return kj::AutoCloseFd(fd);
}

// From Linux 6.8 on, to look at a device is enough; before, its workers take a moment.
void waitUntilUsable(Rtnetlink& net, int where, kj::StringPtr name) {
  auto link = net.link(name);
  bool usable = link && link->operational && (link->master == NO_MASTER || link->forwarding);
  if (!usable) inNamespace(where, [&] { waitForLink(name); });
}

// In one go: each RTM_DELLINK waits for all CPUs.
void deleteTogether(Rtnetlink& net, const std::vector<std::string>& names) {
  bool any = false;
  for (auto& name : names) {
    auto link = net.link(name.c_str());
    if (link) any |= net.attempt(setGroup(link->index, DOOMED_GROUP)) == 0;
  }
  if (!any) return;
  int error = net.attempt(deleteGroup(DOOMED_GROUP));
  KJ_ASSERT(error == 0 || error == ENODEV, "cannot delete network devices", strerror(error));
}

}  // namespace

Sandbox::Sandbox(const Layout& layout, const std::string& network, Step step)
    : layout(layout), onStep(kj::mv(step)) {
  open(network);
  inNamespace(handle.get(), [&] {
    net = kj::heap<Rtnetlink>();
    balancer = newBalancer(layout.balancer);
  });
}

// Pinned while it is empty: whatever ends this run, the next one finds what is in it.
void Sandbox::open(const std::string& network) {
  auto path = layout.pinOf(network);
  if (!isPinned(path.c_str())) {
    dropPin(path.c_str(), onStep);  // the trace of a run that ended in between
    pin(makeNamespace().handle, path.c_str(), onStep);
  }
  handle = openNamespace(path, "a network");
}

Applied Sandbox::apply(const SandboxChange& change) {
  Applied applied;
  if (!change.facts) {
    unplug(change.unplugs, {}, change.remotes);
    return applied;
  }
  std::vector<std::string> strays;
  if (change.complete) {
    prepare(*change.facts);
    adopt(change, strays);
  }
  if (change.host.isKnown() && change.host != connected) connect(*change.facts, change.host);

  // What takes the place of something that goes, comes after it; all else before.
  std::set<Ipv4> arriving;
  std::set<std::string> returning;
  for (auto& leg : change.plugs) {
    arriving.insert(leg.address);
    returning.insert(leg.taskId);
  }
  std::vector<Leg> first, last;
  for (auto& leg : change.unplugs) {
    auto remote = change.remotes.find(leg.address);
    bool replaced = arriving.count(leg.address) > 0 || returning.count(leg.taskId) > 0 ||
                    (remote != change.remotes.end() && remote->second.isKnown());
    (replaced ? first : last).push_back(leg);
  }
  std::vector<Ipv4> moved, gone;
  for (auto& [address, host] : change.remotes) {
    if (!host.isKnown()) (arriving.count(address) > 0 ? moved : gone).push_back(address);
  }
  unplug(first, {}, {});
  removeRemotes(moved);
  setRemotes(change.remotes);
  for (auto& leg : change.plugs) {
    auto plugged = attemptNow([&] { plug(leg, change.facts->mtu); });
    if (!plugged.ok()) applied.refused[leg.taskId] = plugged.message().cStr();
  }
  step();
  applied.flowsKept = balance(change.balancing);
  unplug(last, strays, change.remotes);
  removeRemotes(gone);
  return applied;
}

void Sandbox::prepare(const NetworkFacts& facts) {
  auto link = net->link(BRIDGE);
  if (!link) {
    step();
    net->run(linkUp(LOOPBACK_INDEX), newBridge(BRIDGE, macOf(facts.gateway), facts.mtu));
    link = net->link(BRIDGE);
    KJ_ASSERT(link.has_value(), "the bridge that was made is gone");
  }
  bridge = link->index;
  if (!link->up) net->run(linkUp(bridge));
  if (link->mtu != facts.mtu) net->run(setMtu(bridge, facts.mtu));
  step();
  net->run(newAddress(bridge, facts.gateway, facts.subnet.prefix));
  inNamespace(handle.get(), [&] {
    step();
    switchOn(BRIDGE_FILTERS);
    switchOn(BRIDGE_FORWARDS);
  });
  if (facts.ipv6) prepareIpv6(facts);
  connected = {};
}

// Before any task is there: those of IPv6 that come after have it as well.
void Sandbox::prepareIpv6(const NetworkFacts& facts) {
  AddressKind wanted(*facts.ipv6);
  inNamespace(handle.get(), [&] {
    step();
    switchTo(withoutIpv6(BRIDGE), '0');
    switchTo(hearsRouters(BRIDGE), '0');
    switchOn(BRIDGE_FILTERS6);
    switchOn(FORWARDS6);
  });
  step();
  net->run(newAddress(bridge, facts.ipv6->gateway, facts.ipv6->prefix));
  if (wanted == kind6) return;
  inNamespace(handle.get(), [&] { balancer6 = newBalancer(layout.balancer, wanted); });
  kind6 = wanted;
}

std::string Sandbox::balance(const BalancerChange& change) {
  auto kept = balancer->apply(change);
  if (kind6.isIpv6()) {
    auto kept6 = balancer6->apply(change);
    if (kept.empty()) return kept6;
  }
  return kept;
}

void Sandbox::connect(const NetworkFacts& facts, const HostAddress& host) {
  Vxlan wanted{facts.vni, host, layout.dataPort};
  auto link = net->link(VXLAN);
  if (link && !(link->vxlan == wanted && link->mtu == facts.mtu)) {
    step();
    net->run(deleteLink(link->index));
    remotes.clear();
    link.reset();
  }
  if (!link) {
    VxlanSpec spec{VXLAN, wanted, facts.mtu, handle.get()};
    step();
    int error = Rtnetlink().attempt(newVxlan(spec));  // the packets' way is the node's
    if (error == EEXIST) {
      fail(kj::str("cannot make a VXLAN device with the VNI ", facts.vni, " and the port ",
                   layout.dataPort,
                   ": this host has one already (`ip -d link` in its namespaces shows it); remove "
                   "it, or set 'dataPort' of network.overlay on all hosts"));
    }
    if (error != 0) fail(kj::str("cannot make a VXLAN device: ", strerror(error)));
    link = net->link(VXLAN);
    KJ_ASSERT(link.has_value(), "the VXLAN device that was made is gone");
  }
  vxlan = link->index;
  step();
  if (link->master != bridge) net->run(setMaster(vxlan, bridge));
  step();
  net->run(setSuppression(vxlan), linkUp(vxlan));
  connected = host;
}

void Sandbox::adopt(const SandboxChange& change, std::vector<std::string>& strays) {
  remotes.clear();
  std::set<std::string> named;
  std::set<Ipv4> local;
  for (auto& leg : change.plugs) {
    named.insert(layout.portOf(leg.taskId));
    local.insert(leg.address);
  }
  auto links = net->links();
  vxlan = 0;
  for (auto& link : links) {
    if (link.name == VXLAN) vxlan = link.index;
    bool port = link.kind == "veth" && link.name.rfind(PORT_PREFIX, 0) == 0;
    if (port && named.count(link.name) == 0) strays.push_back(link.name);
  }
  // A run may have ended between the two entries of a task: what is not whole is made again, or
  // taken away.
  for (auto& neighbour : net->permanentNeighbours()) {
    bool ours = neighbour.link == bridge && local.count(neighbour.address) == 0;
    // As if it were not there; the FDB's entry alone has them both made anew.
    bool wrong = neighbour.mac != macOf(neighbour.address);
    if (ours && wrong && change.remotes.count(neighbour.address) > 0) continue;
    if (ours) remotes[neighbour.address] = {};
  }
  for (auto& remote : net->remoteMacs()) {
    if (remote.link != vxlan) continue;
    auto [known, fresh] = remotes.try_emplace(addressOf(remote.mac));
    if (!fresh) known->second = remote.host;
  }
  if (kind6.isIpv6()) adoptNeighbours6(local);
  std::vector<Ipv4> unnamed;
  for (auto& [address, host] : remotes) {
    auto wanted = change.remotes.find(address);
    if (wanted == change.remotes.end()) unnamed.push_back(address);
  }
  removeRemotes(unnamed);
}

// As of the other ones: who lacks his is made anew, and whose owner is nobody is taken away.
void Sandbox::adoptNeighbours6(const std::set<Ipv4>& local) {
  std::set<Ipv4> whole;
  std::vector<NetlinkMessage> strays;
  for (auto& neighbour : net->permanentNeighbours6()) {
    if (neighbour.link != bridge) continue;
    auto owner = kind6.twins()->ownerOf(neighbour.address);
    if (!owner) {
      strays.push_back(deleteNeighbour(bridge, neighbour.address));
    } else if (local.count(*owner) == 0) {
      remotes.try_emplace(*owner);
      if (neighbour.mac == macOf(*owner)) whole.insert(*owner);
    }
  }
  for (auto& [address, host] : remotes) {
    if (whole.count(address) == 0) host = {};
  }
  if (!strays.empty()) net->runAll(strays, ENOENT);
}

void Sandbox::setRemotes(const std::map<Ipv4, HostAddress>& wanted) {
  if (!connected.isKnown()) return;
  std::vector<NetlinkMessage> messages;
  for (auto& [address, host] : wanted) {
    if (!host.isKnown()) continue;
    auto known = remotes.find(address);
    if (known != remotes.end() && known->second == host) continue;
    messages.push_back(newRemoteMac({vxlan, macOf(address), host}));
    if (known == remotes.end() || !known->second.isKnown()) {
      messages.push_back(newNeighbour(bridge, address, macOf(address)));
      if (kind6.isIpv6()) {
        messages.push_back(newNeighbour(bridge, kind6.twinOf(address), macOf(address)));
      }
    }
  }
  if (messages.empty()) return;
  step();
  net->runAll(messages);
  for (auto& [address, host] : wanted) {
    if (host.isKnown()) remotes[address] = host;
  }
}

void Sandbox::removeRemotes(const std::vector<Ipv4>& addresses) {
  std::vector<NetlinkMessage> messages;
  for (auto address : addresses) {
    if (remotes.erase(address) == 0) continue;
    messages.push_back(deleteNeighbour(bridge, address));
    if (kind6.isIpv6()) messages.push_back(deleteNeighbour(bridge, kind6.twinOf(address)));
    if (vxlan != 0) messages.push_back(deleteRemoteMac(vxlan, macOf(address)));
  }
  if (messages.empty()) return;
  step();
  net->runAll(messages, ENOENT);
}

void Sandbox::plug(const Leg& leg, uint32_t mtu) {
  writeLeg(layout.records(), leg, onStep);
  auto task = openNamespace(leg.namespacePath, "a task");
  kj::Own<Rtnetlink> inside;
  inNamespace(task.get(), [&] { inside = kj::heap<Rtnetlink>(); });
  auto mac = macOf(leg.address);
  auto name = layout.portOf(leg.taskId);
  auto port = net->link(name.c_str());
  auto device = inside->link(leg.device.c_str());
  if (device && (device->kind != "veth" || device->mac != mac)) {
    fail(kj::str("the task has a network device '", leg.device.c_str(), "' of its own already"));
  }
  if (port.has_value() != device.has_value()) {  // of another namespace, or one that just ends
    step();
    int error =
        port ? net->attempt(deleteLink(port->index)) : inside->attempt(deleteLink(device->index));
    KJ_ASSERT(error == 0 || error == ENODEV, "cannot delete a network device", strerror(error));
    port.reset();
    device.reset();
  }
  if (!port) {
    VethSpec pair{name, leg.device, mac, mtu, bridge, task.get()};
    step();
    net->run(newVeth(pair));
    port = net->link(name.c_str());
    device = inside->link(leg.device.c_str());
    KJ_ASSERT(port.has_value() && device.has_value(), "the network device that was made is gone",
              leg.device.c_str());
  }
  // Somebody may have changed what was there.
  if (port->master != bridge) net->run(setMaster(port->index, bridge));
  if (port->mtu != mtu) net->run(setMtu(port->index, mtu));
  if (!port->up) net->run(linkUp(port->index));
  closeWayOut(leg.wayOut, task.get(), *inside, onStep);
  step();
  // With br_netfilter, packets that wait for the answer of a neighbour may get lost: nobody asks.
  net->run(newForwarding(port->index, mac), newNeighbour(bridge, leg.address, mac),
           setHairpin(port->index));
  step();
  inside->run(newAddress(device->index, leg.address, leg.prefix), linkUp(device->index));
  if (kind6.isIpv6()) plugIpv6(leg, task.get(), *inside, device->index);
  waitUntilUsable(*inside, task.get(), leg.device.c_str());
  waitUntilUsable(*net, handle.get(), name.c_str());
}

void Sandbox::plugIpv6(const Leg& leg, int taskNamespace, Rtnetlink& inside, uint32_t device) {
  step();
  inNamespace(taskNamespace, [&] {
    switchTo(withoutIpv6(leg.device.c_str()), '0');
    switchTo(hearsRouters(leg.device.c_str()), '0');
  });
  auto twin = kind6.twinOf(leg.address);
  net->run(newNeighbour(bridge, twin, macOf(leg.address)));
  inside.run(newAddress(device, twin, kind6.prefix()));
}

void Sandbox::unplug(const std::vector<Leg>& legs, const std::vector<std::string>& ports,
                     const std::map<Ipv4, HostAddress>& wanted) {
  if (legs.empty() && ports.empty()) return;
  auto doomed = ports;
  std::vector<NetlinkMessage> messages;
  auto link = net->link(BRIDGE);
  for (auto& leg : legs) {
    doomed.push_back(layout.portOf(leg.taskId));
    auto remote = wanted.find(leg.address);
    bool elsewhere = remote != wanted.end() && remote->second.isKnown();
    if (!link || elsewhere) continue;
    messages.push_back(deleteNeighbour(link->index, leg.address));
    if (!kind6.isIpv6()) continue;
    messages.push_back(deleteNeighbour(link->index, kind6.twinOf(leg.address)));
  }
  step();
  deleteTogether(*net, doomed);
  step();
  if (!messages.empty()) net->runAll(messages, ENOENT);
  for (auto& leg : legs) {
    step();
    removeLeg(layout.records(), leg);
  }
}

void Sandbox::remove(const Layout& layout, const std::string& network, const std::vector<Leg>& legs,
                     const Step& step) {
  auto path = layout.pinOf(network);
  if (isPinned(path.c_str())) {
    // At once, since the next device with this VNI may be made at once.
    inNamespace(path.c_str(), [&] {
      Rtnetlink net;
      auto vxlan = net.link(VXLAN);
      if (step) step();
      if (vxlan) net.run(deleteLink(vxlan->index));
    });
  }
  dropPin(path.c_str(), step);
  for (auto& leg : legs) {
    if (step) step();
    removeLeg(layout.records(), leg);
  }
}

}  // namespace orch::network::overlay
