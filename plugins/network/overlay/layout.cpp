#include "layout.h"

#include "orch/fail.h"

namespace orch::network::overlay {

namespace {
std::optional<BalancerKind> balancerOf(kj::StringPtr text) {
  if (text == "auto") return std::nullopt;
  for (auto kind : {BalancerKind::IPVS, BalancerKind::NFT}) {
    if (text == nameOf(kind)) return kind;
  }
  fail(kj::str("'balancer' cannot be '", text, "': it must be auto, ipvs or nft"));
}
}  // namespace

Layout layoutOf(Config::Reader settings, const NodeFacts& node) {
  Layout layout;
  layout.folder = kj::str(node.runDir, "/", node.instance).cStr();
  layout.nodeId = node.id.cStr();
  layout.dataPort = settings.getDataPort();
  layout.encryptionPort = settings.getEncryptionPort();
  if (settings.getWireguardGo().size() == 0) {
    fail(kj::str("'wireguardGo' cannot be empty: expected a program, as wireguard-go"));
  }
  layout.wireguardGo = settings.getWireguardGo().cStr();
  layout.tunnel = linkNameOf(TUNNEL_NAME, layout.nodeId + " " + layout.folder);
  layout.data = kj::str(node.dataDir, "/", node.instance).cStr();
  layout.wantedBalancer = balancerOf(settings.getBalancer());
  if (settings.getAddress().size() == 0) return layout;
  layout.address = parseIpv4(settings.getAddress());
  if (!layout.address || *layout.address == 0) {
    fail(kj::str("'address' cannot be '", settings.getAddress(),
                 "': it must be an IPv4 address of this host, as in 192.168.0.10"));
  }
  return layout;
}

}  // namespace orch::network::overlay
