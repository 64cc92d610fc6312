#include "check.h"

#include <algorithm>
#include <map>
#include <optional>

#include "lib/kernel-switch.h"
#include "lib/nft-content.h"
#include "lib/rtnetlink.h"

namespace orch::network::ingress {

namespace {

kj::String deviceText(bool up, const Vxlan& vxlan) {
  return kj::str(up ? "up" : "down", ", VNI ", vxlan.vni, " from ", hostText(vxlan.local), ":",
                 vxlan.port);
}

void checkDevice(const Layout& layout, const WantedPorts& wanted, const std::optional<Link>& device,
                 Findings& findings) {
  kj::StringPtr name = layout.device.c_str();
  findings.compare(kj::str("device ", name),
                   deviceText(true, {MESH_VNI, wanted.mesh.own, layout.dataPort}),
                   device ? deviceText(device->up, device->vxlan) : kj::str());
  if (!device) return;
  bool ours = device->mac == macOf(wanted.mesh.own);
  findings.compare(kj::str("hardware address of ", name), "of the node's address",
                   ours ? "of the node's address" : "another");
}

void checkMesh(const Layout& layout, const WantedPorts& wanted, Findings& findings) {
  kj::StringPtr name = layout.device.c_str();
  Rtnetlink net;
  auto device = net.link(name);
  checkDevice(layout, wanted, device, findings);
  std::map<Mac, HostAddress> known;
  for (auto& remote : net.remoteMacs()) {
    if (device && remote.link == device->index) known[remote.mac] = remote.host;
  }
  for (auto node : wanted.met) {
    auto found = known.find(macOf(node));
    findings.compare(kj::str("forwarding entry of ", name, " for ", ipv4Text(node)),
                     kj::str("host ", ipv4Text(node)),
                     found == known.end() ? kj::str() : kj::str("host ", hostText(found->second)));
  }
  auto word = [](bool there) { return there ? "present"_kj : ""_kj; };
  findings.compare(kj::str("route of table ", MESH_TABLE), "present",
                   word(device && net.hasDefaultRouteIn(MESH_TABLE, device->index)));
  findings.compare(kj::str("rule for table ", MESH_TABLE), "present",
                   word(net.hasMarkRule(MESH_MARK, MESH_TABLE)));
  if (layout.ipv6) {
    auto own = meshAddressOf(wanted.mesh.own);
    auto all = net.addresses6();
    bool there = std::any_of(all.begin(), all.end(), [&](auto& one) {
      return device && one.link == device->index && one.address == own;
    });
    findings.compare(kj::str("address ", ipv6Text(own), " of ", name), "present", word(there));
    findings.compare(kj::str("IPv6 route of table ", MESH_TABLE), "present",
                     word(device && net.hasDefaultRouteIn(MESH_TABLE, device->index, true)));
    findings.compare(kj::str("IPv6 rule for table ", MESH_TABLE), "present",
                     word(net.hasMarkRule(MESH_MARK, MESH_TABLE, true)));
  }
  auto state = [](bool on) { return on ? "on"_kj : "off"_kj; };
  findings.compare("ip_forward", "on", state(isOn("/proc/sys/net/ipv4/ip_forward")));
  auto local = kj::str("/proc/sys/net/ipv4/conf/", name, "/route_localnet");
  if (device) findings.compare(kj::str("route_localnet of ", name), "on", state(isOn(local)));
  NftBatch egress(layout.table.c_str(), NftFamily::NETDEV);
  buildEgress(egress, layout);
  checkTable(egress, findings);
}

}  // namespace

Findings checkPublished(const Layout& layout, const WantedPorts& wanted) {
  Findings findings;
  if (!wanted.table) return findings;
  for (auto family : familiesOf(layout)) {
    NftBatch batch(layout.table.c_str(), family);
    buildTable(batch, layout, wanted.mesh, {}, wanted.ports, wanted.inTable);
    checkTable(batch, findings);
  }
  if (wanted.mesh.own != 0) checkMesh(layout, wanted, findings);
  return findings;
}

}  // namespace orch::network::ingress
