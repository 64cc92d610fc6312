#include "encryption/tunnel.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>
#include <unistd.h>

#include "encryption/guard.h"
#include "lib/kernel-switch.h"
#include "lib/rtnetlink.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::network::overlay {

namespace {
// So that nobody takes its addresses for a way that the host has by itself (host-routes.cpp).
constexpr kj::StringPtr TUNNEL_ALIAS = "orch network.overlay tunnel"_kj;

// An IPv6 host may have it switched off, for the devices that others make.
void allowIpv6(const std::string& device) {
  auto path = kj::str("/proc/sys/net/ipv6/conf/", device.c_str(), "/disable_ipv6");
  if (access(path.cStr(), F_OK) != 0) {
    fail(kj::str("this kernel has no IPv6 (`ipv6.disable=1`), which is what a tunnel has inside"));
  }
  if (isOn(path)) switchTo(path, '0');
}

kj::String peerText(const WireguardPeers& peers, const Key& key) {
  auto known = peers.find(key);
  return known == peers.end() ? kj::str() : hostText(known->second.inside);
}
}  // namespace

TunnelBy tunnelThere(const std::string& device) {
  auto link = Rtnetlink().link(device.c_str());
  if (!link) return TunnelBy::NOBODY;
  if (link->kind == "wireguard") return TunnelBy::KERNEL;
  if (link->kind == "tun") return TunnelBy::USER;
  fail(kj::str("the network device '", device.c_str(), "' is somebody else's; remove it"));
}

kj::Own<Wireguard> wireguardOf(const std::string& device) {
  switch (tunnelThere(device)) {
    case TunnelBy::KERNEL:
      return kernelWireguard(device);
    case TunnelBy::USER:
      return userWireguard(device);
    case TunnelBy::NOBODY:
      break;
  }
  fail(kj::str("the WireGuard device '", device.c_str(), "' is gone"));
}

void makeKernelTunnel(const std::string& device) {
  Rtnetlink().run(newWireguardLink(device.c_str()));
}

void setTunnel(const TunnelFacts& facts) {
  putUpGuard(facts.device, facts.dataPort);
  Rtnetlink net;
  auto control = wireguardOf(facts.device);
  auto change = changeTo(facts.wireguard, control->read());
  if (!change.empty()) control->apply(change);
  auto link = net.link(facts.device.c_str());
  if (!link) fail(kj::str("the WireGuard device '", facts.device.c_str(), "' is gone"));
  if (link->alias != TUNNEL_ALIAS.cStr()) net.run(setAlias(link->index, TUNNEL_ALIAS));
  if (link->mtu != facts.mtu) net.run(setMtu(link->index, facts.mtu));
  allowIpv6(facts.device);
  net.run(newAddressInTunnel(link->index, facts.address(), TUNNEL_PREFIX), linkUp(link->index));
}

void removeTunnel(const std::string& device) {
  Rtnetlink net;
  auto link = net.link(device.c_str());
  if (link) {
    int error = net.attempt(deleteLink(link->index));
    KJ_ASSERT(error == 0 || error == ENODEV, "cannot delete a network device", strerror(error));
  }
  takeDownGuard(device);
}

void checkTunnel(const TunnelFacts& facts, Findings& findings) {
  auto object = [&](kj::StringPtr what) {
    return kj::str(what, " of the tunnel ", facts.device.c_str());
  };
  checkGuard(facts.device, facts.dataPort, findings);
  Rtnetlink net;
  auto link = net.link(facts.device.c_str());
  auto text = [](bool up, uint32_t mtu) { return kj::str(up ? "up" : "down", ", mtu ", mtu); };
  findings.compare(object("device"), text(true, facts.mtu),
                   link ? text(link->up, link->mtu) : kj::str());
  if (!link) return;
  bool addressed = net.hasAddressInTunnel(link->index, facts.address(), TUNNEL_PREFIX);
  auto address = hostText(facts.address());
  findings.compare(object("address"), address, addressed ? address.asPtr() : ""_kj);
  WireguardFacts there;
  auto read = attemptNow([&] { there = wireguardOf(facts.device)->read(); });
  findings.compare(object("control"), "answers", read.ok() ? "answers"_kj : read.message());
  if (!read.ok()) return;
  findings.compare(object("private key"), "this host's",
                   there.privateKey == facts.wireguard.privateKey ? "this host's" : "another");
  findings.compare(object("port"), kj::str(facts.wireguard.port), kj::str(there.port));
  std::map<Key, bool> all;
  for (auto& entry : facts.wireguard.peers) all[entry.first] = true;
  for (auto& entry : there.peers) all[entry.first] = true;
  for (auto& entry : all) {
    findings.compare(object(kj::str("peer ", keyText(entry.first))),
                     peerText(facts.wireguard.peers, entry.first),
                     peerText(there.peers, entry.first));
  }
}

}  // namespace orch::network::overlay
