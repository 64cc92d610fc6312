#include "rules.h"

#include <netinet/in.h>

#include <algorithm>

namespace orch::network::ingress {

namespace {

constexpr Ipv4Subnet LOOPBACK{0x7f000000, 8};
constexpr Ipv6Subnet LOOPBACK6{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128};
constexpr int32_t RAW = -300;     // NF_IP_PRI_RAW
constexpr int32_t MANGLE = -150;  // NF_IP_PRI_MANGLE
constexpr int32_t DSTNAT = -100;  // NF_IP_PRI_NAT_DST
constexpr int32_t AFTER_DSTNAT = -50;
constexpr int32_t FILTER = 0;  // NF_IP_PRI_FILTER
// Before other tables' chains: the first that says something has said it.
constexpr int32_t SRCNAT = 99;  // NF_IP_PRI_NAT_SRC - 1
constexpr const char* CHAINS[] = {"input", "prerouting", "output", "zone",   "carry",  "aside",
                                  "lead",  "leadout",    "leave",  "source", "forward"};
constexpr const char* SETS[] = {"published", "active", "here", "backends", "nodes", "selves"};

// In an Ethernet header: of the 6 bytes of receiver and sender the last 4, and the sender's last 2.
constexpr uint32_t RECEIVER = 2;
constexpr uint32_t SENDER = 8;
constexpr uint32_t SENDER_END = 10;

NftBytes portKey(PortKey key) {
  NftBytes bytes;
  bytes.protocol(key.protocol).port(key.port);
  return bytes;
}
NftBytes turnKey(PortKey key, uint32_t turn) { return portKey(key).mark(turn); }
NftBytes valueOf(const Backend& backend, bool ipv6) {
  NftBytes bytes;
  if (ipv6) {
    bytes.address(*backend.address6);
  } else {
    bytes.address(backend.address);
  }
  return kj::mv(bytes.port(backend.port));
}
bool isIpv6(const NftBatch& batch) { return batch.ofFamily() == NftFamily::IP6; }
kj::String chainOf(PortKey key) {
  return kj::str(key.protocol == IPPROTO_UDP ? "udp-" : "tcp-", key.port);
}
kj::String hereOf(PortKey key) { return kj::str("here-", chainOf(key)); }

void buildRefusals(NftBatch& batch, const Layout& layout, const MeshFacts& mesh) {
  kj::StringPtr device = layout.device.c_str();
  batch.addChain("input", {"filter", NftPoint::INPUT, FILTER});
  // Nobody has business with this node itself by the mesh; it answers its own connections there.
  bool ipv6 = isIpv6(batch);
  if (mesh.own != 0) batch.addRule("input", NftRule(ipv6).from(device).isNew().drop());
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    NftRule rule(ipv6);
    rule.protocolIs(protocol).loadProtocol(R0).loadDestinationPort(R1).in("published", R0);
    if (protocol == IPPROTO_TCP) {
      rule.rejectWithReset();
    } else {
      rule.rejectPortUnreachable();
    }
    batch.addRule("input", rule);
  }
}

void buildNat(NftBatch& batch, const Layout& layout, const MeshFacts& mesh) {
  kj::StringPtr device = layout.device.c_str();
  auto lead = [&](const char* chain, kj::StringPtr map, NftRule&& rule) {
    rule.destinationIsLocal().loadProtocol(R0).loadDestinationPort(R1).obey(map, R0);
    batch.addRule(chain, rule);
  };
  bool ipv6 = isIpv6(batch);
  batch.addChain("prerouting", {"nat", NftPoint::PREROUTING, DSTNAT});
  if (mesh.own == 0) {
    lead("prerouting", "active", NftRule(ipv6));
  } else {
    lead("prerouting", "here", kj::mv(NftRule(ipv6).from(device)));
    lead("prerouting", "active", kj::mv(NftRule(ipv6).notFrom(device)));
  }
  batch.addChain("output", {"nat", NftPoint::OUTPUT, DSTNAT});
  lead("output", "active", NftRule(ipv6));
}

// Of connections whose turn was another node's, whose packets go there.
void buildLead(NftBatch& batch, kj::StringPtr chain, kj::StringPtr device) {
  bool ipv6 = isIpv6(batch);
  auto rule = [&] {
    NftRule made(ipv6);
    if (device != nullptr) made.notFrom(device);
    return made;
  };
  auto first = rule();
  first.isNew().isDnat(true).loadProtocol(R1).loadFirstDestinationPort(R2).in("published", R1);
  if (ipv6) {
    first.loadDestinationEnd(R0);
  } else {
    first.loadDestination(R0);
  }
  batch.addRule(chain, first.in("nodes", R0).setConnectionMark(R0));
  batch.addRule(
      chain,
      rule().isReply(false).loadConnectionMark(R0).in("nodes", R0).setConstantMark(MESH_MARK));
}

// Nothing below is for it: of connections of the mesh the first packet set the mark.
NftRule outsideOfMesh(bool ipv6) {
  return kj::mv(NftRule(ipv6).isUnmarked().isNew(false).accept());
}

// What the other node could not answer to. Of IPv6 network.bridge does that for the tasks of this
// node: they leave by the mesh with its address.
void buildSource(NftBatch& batch, kj::StringPtr device, const MeshFacts& mesh) {
  batch.addChain("source", {"nat", NftPoint::POSTROUTING, SRCNAT});
  if (isIpv6(batch)) {
    NftRule rule(true);
    rule.to(device).sourceIn6(LOOPBACK6).snatTo(meshAddressOf(mesh.own));
    batch.addRule("source", rule);
    return;
  }
  batch.addRule("source", NftRule().to(device).sourceIn(LOOPBACK).snatTo(mesh.own));
  for (auto& subnet : mesh.inside) {
    batch.addRule("source", NftRule().to(device).sourceIn(subnet).snatTo(mesh.own));
  }
  batch.addRule(
      "source",
      NftRule().to(device).loadSource(R0).loadConnectionMark(R1).in("selves", R0).snatTo(mesh.own));
}

// Frames are carried by IPv4.
void buildCarry(NftBatch& batch, const Layout& layout) {
  auto carries = [&] {
    return kj::mv(NftRule().protocolIs(IPPROTO_UDP).destinationPortIs(layout.dataPort));
  };
  batch.addRule("zone", carries().destinationIsLocal().doNotTrack());
  batch.addChain("carry", {"filter", NftPoint::OUTPUT, RAW});
  batch.addRule("carry", carries().doNotTrack());
}

void buildMesh(NftBatch& batch, const Layout& layout, const MeshFacts& mesh) {
  kj::StringPtr device = layout.device.c_str();
  batch.addChain("zone", {"filter", NftPoint::PREROUTING, RAW});
  bool ipv6 = isIpv6(batch);
  batch.addRule("zone", NftRule(ipv6).from(device).loadFrame(SENDER_END, 2, R0).setZone(R0));
  if (!ipv6) buildCarry(batch, layout);

  NftRule aside(ipv6);
  if (ipv6) {
    aside.destinationIs(LOOPBACK6.network);
  } else {
    aside.destinationIn(LOOPBACK);
  }
  aside.loadProtocol(R0).loadDestinationPort(R1).in("published", R0).setConstantMark(MESH_MARK);
  batch.addChain("aside", {"filter", NftPoint::OUTPUT, MANGLE});
  batch.addRule("aside", aside);

  auto outside = outsideOfMesh(ipv6), outsideOut = outsideOfMesh(ipv6);
  batch.addChain("lead", {"filter", NftPoint::PREROUTING, AFTER_DSTNAT});
  batch.addRule("lead", outside);
  batch.addRule("lead",
                NftRule(ipv6).from(device).isNew().loadFrame(SENDER, 4, R0).setConnectionMark(R0));
  batch.addRule("lead",
                NftRule(ipv6).notFrom(device).isReply(true).isInZone().setConstantMark(MESH_MARK));
  buildLead(batch, "lead", device);
  batch.addChain("leadout", {"route", NftPoint::OUTPUT, AFTER_DSTNAT});
  batch.addRule("leadout", outsideOut);
  buildLead(batch, "leadout", nullptr);

  batch.addChain("leave", {"filter", NftPoint::POSTROUTING, MANGLE});
  batch.addRule("leave", NftRule(ipv6).to(device).clampSegments());
  batch.addRule("leave", NftRule(ipv6).to(device).loadConnectionMark(R0).setMark(R0));
  buildSource(batch, device, mesh);
  batch.addChain("forward", {"filter", NftPoint::FORWARD, FILTER});
  batch.addRule("forward", NftRule(ipv6).from(device).isNew().isDnat(false).drop());
}

// One rule that gives the turns `0 .. count - 1`.
void buildTurns(NftBatch& batch, kj::StringPtr map, kj::StringPtr chain, PortKey port,
                size_t before, size_t after) {
  if (before == after) return;
  auto key = portKey(port);
  if (before == 0) batch.addChain(chain);
  if (before > 0 && after == 0) batch.deleteElement(map, key);
  if (before > 0) batch.deleteRules(chain);
  if (after > 0) {
    bool ipv6 = isIpv6(batch);
    NftRule rule(ipv6);
    rule.loadProtocol(R0).loadDestinationPort(R1).loadNextOf(after, R2);
    rule.lookUp("backends", R0, R0).dnatTo(R0, ipv6 ? R0 + 4 : R1);
    batch.addRule(chain, rule);
  } else {
    batch.deleteChain(chain);
  }
  if (before == 0) batch.addElement(map, key, chain);
}

}  // namespace

void buildTable(NftBatch& batch, const Layout& layout, const MeshFacts& mesh,
                const std::vector<std::string>& chains, const std::vector<PortChange>& ports,
                const std::set<Ipv4>& nodes) {
  batch.addTable();
  batch.addSet("published", {NftType::PROTOCOL, NftType::PORT});
  batch.addVerdictMap("active", {NftType::PROTOCOL, NftType::PORT});
  batch.addVerdictMap("here", {NftType::PROTOCOL, NftType::PORT});
  batch.addMap("backends", {NftType::PROTOCOL, NftType::PORT, NftType::MARK},
               {isIpv6(batch) ? NftType::ADDRESS6 : NftType::ADDRESS, NftType::PORT});
  batch.addSet("nodes", {NftType::ADDRESS});
  batch.addSet("selves", {NftType::ADDRESS, NftType::ADDRESS});
  for (auto set : SETS) batch.deleteElements(set);
  std::set<std::string> left(chains.begin(), chains.end());
  for (auto& chain : left) batch.deleteRules(chain.c_str());
  buildRefusals(batch, layout, mesh);
  buildNat(batch, layout, mesh);
  if (mesh.own != 0) buildMesh(batch, layout, mesh);
  for (auto chain : CHAINS) left.erase(chain);  // those of the mesh have no rules without it
  buildNodes(batch, {}, nodes);
  for (auto& port : ports) {
    buildChange(batch, {port.key, std::nullopt, port.after});
    if (!port.after) continue;
    auto led = isIpv6(batch) ? port.after->ofIpv6() : *port.after;
    if (!led.turns.empty()) left.erase(chainOf(port.key).cStr());
    if (led.here > 0) left.erase(hereOf(port.key).cStr());
  }
  for (auto& chain : left) batch.deleteChain(chain.c_str());
}

std::vector<NftFamily> familiesOf(const Layout& layout) {
  if (layout.ipv6) return {NftFamily::IP, NftFamily::IP6};
  return {NftFamily::IP};
}

std::vector<std::string> lastingChains() { return {"input", "prerouting", "output"}; }

void buildChange(NftBatch& batch, const PortChange& change) {
  bool ipv6 = isIpv6(batch);
  auto ledIn = [&](const std::optional<Led>& led) {
    if (!led) return Led();
    return ipv6 ? led->ofIpv6() : *led;
  };
  auto before = ledIn(change.before), after = ledIn(change.after);
  auto chain = chainOf(change.key);
  auto key = portKey(change.key);

  if (!change.before && change.after) batch.addElement("published", key);
  for (size_t turn = 0; turn < std::max(before.turns.size(), after.turns.size()); ++turn) {
    bool had = turn < before.turns.size();
    bool has = turn < after.turns.size();
    if (had && has && before.turns[turn] == after.turns[turn]) continue;
    if (had) batch.deleteElement("backends", turnKey(change.key, turn));
    if (!has) continue;
    batch.addElement("backends", turnKey(change.key, turn), valueOf(after.turns[turn], ipv6));
  }
  buildTurns(batch, "active", chain, change.key, before.turns.size(), after.turns.size());
  buildTurns(batch, "here", hereOf(change.key), change.key, before.here, after.here);
  if (change.before && !change.after) batch.deleteElement("published", key);
}

void buildNodes(NftBatch& batch, const std::set<Ipv4>& before, const std::set<Ipv4>& after) {
  auto one = [](Ipv4 node) { return kj::mv(NftBytes().address(node)); };
  auto twice = [](Ipv4 node) { return kj::mv(NftBytes().address(node).address(node)); };
  for (auto node : before) {
    if (after.count(node) > 0) continue;
    batch.deleteElement("nodes", one(node)).deleteElement("selves", twice(node));
  }
  for (auto node : after) {
    if (before.count(node) > 0) continue;
    batch.addElement("nodes", one(node)).addElement("selves", twice(node));
  }
}

void buildEgress(NftBatch& batch, const Layout& layout) {
  batch.addTable();
  batch.addEgressChain("egress", layout.device.c_str()).deleteRules("egress");
  // Not for the packet that carries the frame, which would get the mark as well.
  batch.addRule("egress", NftRule().loadMark(R0).writeFrame(RECEIVER, R0).setConstantMark(0));
}

}  // namespace orch::network::ingress
