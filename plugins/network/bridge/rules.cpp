#include "rules.h"

#include <netinet/in.h>

#include <algorithm>
#include <set>

namespace orch::network::bridge {

namespace {

constexpr Ipv4Subnet LOOPBACK{0x7f000000, 8};
constexpr int32_t RAW = -300;     // NF_IP_PRI_RAW
constexpr int32_t DSTNAT = -100;  // NF_IP_PRI_NAT_DST
constexpr int32_t FILTER = 0;     // NF_IP_PRI_FILTER
constexpr int32_t SRCNAT = 100;   // NF_IP_PRI_NAT_SRC
constexpr const char* BASE_CHAINS[] = {"guard",  "input",      "forward",
                                       "output", "prerouting", "postrouting"};

NftBytes portKey(PortKey key) {
  NftBytes bytes;
  bytes.protocol(key.protocol).port(key.port);
  return bytes;
}
NftBytes turnKey(PortKey key, uint32_t turn) { return portKey(key).mark(turn); }
NftBytes valueOf(const Backend& backend) {
  NftBytes bytes;
  bytes.address(backend.address).port(backend.port);
  return bytes;
}
kj::String chainOf(PortKey key) {
  return kj::str(key.protocol == IPPROTO_UDP ? "udp-" : "tcp-", key.port);
}

void buildGuards(NftBatch& batch, const Layout& layout) {
  kj::StringPtr bridge = layout.bridge.c_str();
  batch.addChain("guard", {"filter", NftPoint::PREROUTING, RAW});
  batch.addRule("guard", NftRule().from(bridge).destinationIn(LOOPBACK).drop());
  batch.addRule("guard", NftRule().from(bridge).sourceIn(LOOPBACK).drop());

  batch.addChain("input", {"filter", NftPoint::INPUT, FILTER});
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    NftRule rule;
    rule.protocolIs(protocol).loadProtocol(R0).loadDestinationPort(R1).in("published", R0);
    if (protocol == IPPROTO_TCP) {
      rule.rejectWithReset();
    } else {
      rule.rejectPortUnreachable();
    }
    batch.addRule("input", rule);
  }

  batch.addChain("forward", {"filter", NftPoint::FORWARD, FILTER});
  batch.addRule("forward", NftRule().notFrom(bridge).to(bridge).isNew().isDnat(false).drop());
}

void buildNat(NftBatch& batch, const Layout& layout) {
  kj::StringPtr bridge = layout.bridge.c_str();
  batch.addChain("prerouting", {"nat", NftPoint::PREROUTING, DSTNAT});
  batch.addChain("output", {"nat", NftPoint::OUTPUT, DSTNAT});
  for (auto chain : {"prerouting", "output"}) {
    NftRule rule;
    rule.destinationIsLocal().loadProtocol(R0).loadDestinationPort(R1).obey("active", R0);
    batch.addRule(chain, rule);
  }
  batch.addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  batch.addRule("postrouting", NftRule().sourceIn(layout.subnet).notTo(bridge).masquerade());
  batch.addRule("postrouting", NftRule().sourceIn(LOOPBACK).to(bridge).masquerade());
  batch.addRule("postrouting",
                NftRule().sourceIn(layout.subnet).to(bridge).isDnat(true).masquerade());
}

}  // namespace

void buildTable(NftBatch& batch, const Layout& layout, const std::vector<std::string>& chains,
                const std::vector<PortChange>& ports) {
  batch.addTable();
  batch.addSet("published", {NftType::PROTOCOL, NftType::PORT});
  batch.addVerdictMap("active", {NftType::PROTOCOL, NftType::PORT});
  batch.addMap("backends", {NftType::PROTOCOL, NftType::PORT, NftType::MARK},
               {NftType::ADDRESS, NftType::PORT});
  for (auto set : {"published", "active", "backends"}) batch.deleteElements(set);
  std::set<std::string> left(chains.begin(), chains.end());
  for (auto& chain : left) batch.deleteRules(chain.c_str());
  for (auto chain : BASE_CHAINS) left.erase(chain);
  buildGuards(batch, layout);
  buildNat(batch, layout);
  for (auto& port : ports) {
    buildChange(batch, {port.key, std::nullopt, port.after});
    if (port.after && !port.after->empty()) left.erase(chainOf(port.key).cStr());
  }
  for (auto& chain : left) batch.deleteChain(chain.c_str());
}

void buildChange(NftBatch& batch, const PortChange& change) {
  const Backends none;
  auto& before = change.before ? *change.before : none;
  auto& after = change.after ? *change.after : none;
  auto chain = chainOf(change.key);
  auto key = portKey(change.key);

  if (!change.before && change.after) batch.addElement("published", key);
  for (size_t turn = 0; turn < std::max(before.size(), after.size()); ++turn) {
    bool had = turn < before.size();
    bool has = turn < after.size();
    if (had && has && before[turn] == after[turn]) continue;
    if (had) batch.deleteElement("backends", turnKey(change.key, turn));
    if (has) batch.addElement("backends", turnKey(change.key, turn), valueOf(after[turn]));
  }
  if (before.empty() && !after.empty()) batch.addChain(chain);
  if (before.size() != after.size()) {
    if (!before.empty() && after.empty()) batch.deleteElement("active", key);
    if (!before.empty()) batch.deleteRules(chain);
    if (!after.empty()) {
      NftRule rule;
      rule.loadProtocol(R0).loadDestinationPort(R1).loadNextOf(after.size(), R2);
      rule.lookUp("backends", R0, R0).dnatTo(R0, R1);
      batch.addRule(chain, rule);
    }
    if (!before.empty() && after.empty()) batch.deleteChain(chain);
    if (before.empty() && !after.empty()) batch.addElement("active", key, chain.asPtr());
  }
  if (change.before && !change.after) batch.deleteElement("published", key);
}

}  // namespace orch::network::bridge
