#include "balancer-rules.h"

#include <netinet/in.h>

#include <algorithm>

namespace orch::network::overlay {

namespace {
constexpr int32_t DSTNAT = -100;  // NF_IP_PRI_NAT_DST
constexpr int32_t SRCNAT = 100;   // NF_IP_PRI_NAT_SRC

NftBytes keyOf(Ipv4 address) {
  NftBytes bytes;
  bytes.address(address);
  return bytes;
}
NftBytes turnKey(Ipv4 address, uint32_t turn) { return keyOf(address).mark(turn); }
kj::String chainOf(Ipv4 address) { return kj::str("vip-", ipv4Text(address)); }
}  // namespace

void buildTable(NftBatch& batch, const std::vector<std::string>& chains,
                const std::map<Ipv4, Backends>& services, const std::set<Ipv4>& locals) {
  batch.addTable();
  batch.addVerdictMap("services", {NftType::ADDRESS});
  batch.addMap("backends", {NftType::ADDRESS, NftType::MARK}, {NftType::ADDRESS});
  batch.addSet("hairpins", {NftType::ADDRESS, NftType::ADDRESS});
  for (auto set : {"services", "backends", "hairpins"}) batch.deleteElements(set);
  std::set<std::string> left(chains.begin(), chains.end());
  for (auto& chain : left) batch.deleteRules(chain.c_str());
  left.erase("prerouting");
  left.erase("postrouting");

  batch.addChain("prerouting", {"nat", NftPoint::PREROUTING, DSTNAT});
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    NftRule rule;
    rule.protocolIs(protocol).loadDestination(R0).obey("services", R0);
    batch.addRule("prerouting", rule);
  }
  batch.addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  NftRule hairpin;
  hairpin.loadSource(R0).loadDestination(R1).in("hairpins", R0).masquerade();
  batch.addRule("postrouting", hairpin);

  for (auto& [address, backends] : services) {
    buildService(batch, address, {}, backends);
    if (!backends.empty()) left.erase(chainOf(address).cStr());
  }
  for (auto local : locals) buildHairpin(batch, local, true);
  for (auto& chain : left) batch.deleteChain(chain.c_str());
}

void buildService(NftBatch& batch, Ipv4 address, const Backends& before, const Backends& after) {
  auto chain = chainOf(address);
  for (size_t turn = 0; turn < std::max(before.size(), after.size()); ++turn) {
    bool had = turn < before.size();
    bool has = turn < after.size();
    if (had && has && before[turn] == after[turn]) continue;
    if (had) batch.deleteElement("backends", turnKey(address, turn));
    if (has) batch.addElement("backends", turnKey(address, turn), keyOf(after[turn]));
  }
  if (before.size() == after.size()) return;
  if (before.empty()) batch.addChain(chain);
  if (after.empty()) batch.deleteElement("services", keyOf(address));
  if (!before.empty()) batch.deleteRules(chain);
  if (!after.empty()) {
    NftRule rule;
    rule.loadDestination(R0).loadNextOf(after.size(), R1).lookUp("backends", R0, R0).dnatTo(R0);
    batch.addRule(chain, rule);
  }
  if (after.empty()) batch.deleteChain(chain);
  if (before.empty()) batch.addElement("services", keyOf(address), chain.asPtr());
}

void buildHairpin(NftBatch& batch, Ipv4 local, bool there) {
  auto key = keyOf(local).address(local);
  if (there) {
    batch.addElement("hairpins", key);
  } else {
    batch.deleteElement("hairpins", key);
  }
}

}  // namespace orch::network::overlay
