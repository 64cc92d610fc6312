#include "check.h"

#include <algorithm>

#include "lib/kernel-switch.h"
#include "lib/netns.h"
#include "lib/nft-content.h"
#include "lib/rtnetlink.h"
#include "node.h"
#include "rules.h"
#include "wiring.h"

namespace orch::network::bridge {

namespace {

constexpr const char* LEG = "eth0";

kj::String memberText(const std::string& bridge, uint32_t mtu) {
  return kj::str("port of ", bridge.c_str(), ", mtu ", mtu);
}

// What the node has for all tasks, in a few lists.
struct Around {
  std::map<std::string, Link> links;
  std::vector<Neighbour> neighbours;
  std::vector<Neighbour6> neighbours6;
  std::vector<Forwarding> forwardings;
  uint32_t bridge = 0;

  explicit Around(Rtnetlink& net, const Layout& layout)
      : neighbours(net.permanentNeighbours()),
        neighbours6(net.permanentNeighbours6()),
        forwardings(net.forwardings()) {
    for (auto& link : net.links()) links[link.name] = link;
    auto known = links.find(layout.bridge);
    if (known != links.end()) bridge = known->second.index;
  }
  bool knows(Ipv4 address) const {
    return std::any_of(neighbours.begin(), neighbours.end(), [&](auto& one) {
      return one.link == bridge && one.address == address && one.mac == macOf(address);
    });
  }
  bool knows(const Ipv6& address, const Mac& mac) const {
    return std::any_of(neighbours6.begin(), neighbours6.end(), [&](auto& one) {
      return one.link == bridge && one.address == address && one.mac == mac;
    });
  }
  bool leads(uint32_t port, Ipv4 address) const {
    return std::any_of(forwardings.begin(), forwardings.end(),
                       [&](auto& one) { return one.port == port && one.mac == macOf(address); });
  }
};

template <typename All, typename Address>
bool has(const All& all, uint32_t link, const Address& address, uint8_t prefix) {
  return std::any_of(all.begin(), all.end(), [&](auto& one) {
    return one.link == link && one.address == address && one.prefix == prefix;
  });
}

kj::StringPtr word(bool there) { return there ? "present"_kj : ""_kj; }

void checkNode(const Layout& layout, Rtnetlink& net, const Around& around, Findings& findings) {
  findings.compare(kj::str("bridge ", layout.bridge.c_str()), "present", word(around.bridge != 0));
  findings.compare(kj::str("gateway's address ", ipv4Text(layout.gateway)), "present",
                   word(around.bridge != 0 &&
                        has(net.addresses(), around.bridge, layout.gateway, layout.subnet.prefix)));
  bool forwards = isOn("/proc/sys/net/ipv4/ip_forward");
  findings.compare("ip_forward", "on", forwards ? "on" : "off");
  NftBatch batch(layout.table.c_str());
  buildTable(batch, layout, {});
  checkTable(batch, findings);
  if (!layout.twins) return;
  auto prefix = layout.twins->range.prefix;
  findings.compare(
      kj::str("gateway's address ", ipv6Text(layout.gateway6())), "present",
      word(around.bridge != 0 && has(net.addresses6(), around.bridge, layout.gateway6(), prefix)));
  forwards = isOn("/proc/sys/net/ipv6/conf/all/forwarding");
  findings.compare("forwarding of IPv6", "on", forwards ? "on" : "off");
  NftBatch batch6(layout.table.c_str(), NftFamily::IP6);
  buildTable6(batch6, layout, {});
  checkTable(batch6, findings);
}

void checkInside(const Layout& layout, const TaskRecord& record, Findings& findings) {
  auto object = kj::str(LEG, " of task ", record.taskId.c_str());
  auto expected = ipv4Text(record.address);
  auto path = layout.pinOf(record.taskId);
  if (!isPinned(path.c_str())) return findings.compare(object, expected, "");
  inNamespace(path.c_str(), [&] {
    Rtnetlink net;
    auto device = net.link(LEG);
    bool whole = device && device->mac == macOf(record.address) &&
                 has(net.addresses(), device->index, record.address, layout.subnet.prefix);
    auto found = whole ? expected.asPtr() : device ? "without its address"_kj : ""_kj;
    findings.compare(object, expected, found);
    // network.overlay takes IPv6 from who has no way out, as it takes down the device.
    bool six = layout.twins && device && device->up && isIn(WITHOUT_IPV6, '0');
    if (!six) return;
    auto twin = layout.twins->of(record.address);
    bool there = has(net.addresses6(), device->index, twin, layout.twins->range.prefix);
    findings.compare(kj::str("IPv6 address of ", object), ipv6Text(twin),
                     there ? ipv6Text(twin) : kj::str());
  });
}

Findings checkTask(const Layout& layout, const TaskRecord& record, const Around& around) {
  Findings findings(layout.network);
  auto port = around.links.find(layout.deviceOf(record.taskId));
  bool there = port != around.links.end();
  bool member = there && port->second.master == around.bridge && around.bridge != 0;
  findings.compare(
      kj::str("port of task ", record.taskId.c_str()), memberText(layout.bridge, layout.mtu),
      there ? memberText(member ? layout.bridge : "nothing", port->second.mtu) : kj::str());
  auto address = ipv4Text(record.address);
  findings.compare(kj::str("neighbour ", address), "present", word(around.knows(record.address)));
  findings.compare(kj::str("forwarding entry of ", address), "present",
                   word(there && around.leads(port->second.index, record.address)));
  if (layout.twins) {
    auto twin = layout.twins->of(record.address);
    findings.compare(kj::str("neighbour ", ipv6Text(twin)), "present",
                     word(around.knows(twin, macOf(record.address))));
  }
  checkInside(layout, record, findings);
  return findings;
}

}  // namespace

Checked checkBridge(const Layout& layout, const std::vector<TaskRecord>& records) {
  Checked checked{Findings(layout.network), {}};
  Rtnetlink net;
  Around around(net, layout);
  checkNode(layout, net, around, checked.node);
  for (auto& record : records) {
    checked.tasks.emplace(record.taskId, checkTask(layout, record, around));
  }
  return checked;
}

void mend(const Layout& layout, const std::vector<TaskRecord>& records) {
  Rtnetlink net;
  uint32_t bridge = ensureBridge(net, layout).index;
  for (auto& record : records) {
    auto port = net.link(layout.deviceOf(record.taskId).c_str());
    if (!port) continue;  // that is for good: the namespace may be anybody's by now
    auto mac = macOf(record.address);
    if (port->master != bridge) net.run(setMaster(port->index, bridge));
    if (port->mtu != layout.mtu) net.run(setMtu(port->index, layout.mtu));
    net.run(newForwarding(port->index, mac), newNeighbour(bridge, record.address, mac));
    wireIpv6(layout, record, bridge);
    auto path = layout.pinOf(record.taskId);
    if (!isPinned(path.c_str())) continue;
    inNamespace(path.c_str(), [&] {
      Rtnetlink inside;
      auto leg = inside.link(LEG);
      if (!leg || leg->mac != mac) return;
      if (has(inside.addresses(), leg->index, record.address, layout.subnet.prefix)) return;
      inside.run(newAddress(leg->index, record.address, layout.subnet.prefix));
      // It went with the address.
      if (leg->up) inside.run(newDefaultRoute(leg->index, layout.gateway));
    });
  }
}

}  // namespace orch::network::bridge
