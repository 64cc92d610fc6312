#include "ipvs-rules.h"

#include <netinet/in.h>

#include "nft-rules.h"

namespace orch::network::overlay {

namespace {
constexpr int32_t EARLY = -300;  // NF_BR_PRI_NAT_DST_BRIDGED: before frames pass IP's own hooks
constexpr int32_t LATE = 300;    // NF_BR_PRI_NAT_SRC: after that
constexpr uint32_t FIRST_BIT = 1u << 31;
// A task that waits longer for its own answer, without a packet of its own meanwhile, loses it.
constexpr uint64_t LOOP_MS = 15 * 60 * 1000;
constexpr uint32_t MOST_LOOPS = 1 << 18;  // as many as connections are tracked, where they are
}  // namespace

uint32_t markOf(Ipv4 address, uint8_t protocol) {
  return protocol == IPPROTO_UDP ? address ^ FIRST_BIT : address;
}

IpvsScheduling schedulingOf(const Balanced& service) {
  std::set<uint32_t> weights;
  for (auto& backend : service.backends) {
    if (backend.weight > 0) weights.insert(backend.weight);
  }
  IpvsScheduling scheduling;
  scheduling.persistenceS = service.choice.persistenceMs / 1000;
  bool weighted = weights.size() > 1;
  switch (service.choice.algorithm) {
    case Algorithm::RR:
      scheduling.scheduler = weighted ? "wrr" : "rr";
      break;
    case Algorithm::LC:
      scheduling.scheduler = weighted ? "wlc" : "lc";
      break;
    case Algorithm::SH:
      scheduling.scheduler = "sh";
      break;
  }
  return scheduling;
}

IpvsScheduling inTurns(const Balanced& service) {
  auto other = service;
  other.choice.algorithm = Algorithm::RR;
  return schedulingOf(other);
}

void buildMark(NftBatch& batch, Ipv4 address, bool there) {
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    NftBytes key;
    key.protocol(protocol).address(address);
    if (there) {
      batch.addElement("marks", key, NftBytes().mark(markOf(address, protocol)));
    } else {
      batch.deleteElement("marks", key);
    }
  }
}

void buildIpvsTable(NftBatch& batch, const std::vector<std::string>& chains, Ipv4 gateway,
                    const std::set<Ipv4>& marked, const std::set<Ipv4>& locals) {
  batch.addTable();
  batch.addMap("marks", {NftType::PROTOCOL, NftType::ADDRESS}, {NftType::MARK});
  batch.addSet("hairpins", {NftType::ADDRESS, NftType::ADDRESS});
  batch.addTimedSet("loops", {NftType::ADDRESS, NftType::PROTOCOL, NftType::PORT, NftType::PORT},
                    MOST_LOOPS);
  for (auto set : {"marks", "hairpins"}) batch.deleteElements(set);
  for (auto& chain : chains) batch.deleteRules(chain.c_str());

  batch.addChain("prerouting", {"filter", NftPoint::PREROUTING, EARLY});
  NftRule back;
  back.isIpv4().destinationIn({gateway, 32}).loadSource(R0).loadProtocol(R1).loadSourcePort(R2);
  back.loadDestinationPort(R3).in("loops", R0).setDestination(R0);
  batch.addRule("prerouting", back);
  NftRule mark;
  mark.isIpv4().loadProtocol(R0).loadDestination(R1).lookUp("marks", R0, R0).setMark(R0);
  batch.addRule("prerouting", mark);

  batch.addChain("postrouting", {"filter", NftPoint::POSTROUTING, LATE});
  NftRule hairpin;
  hairpin.isIpv4().loadSource(R0).loadDestination(R1).in("hairpins", R0).loadProtocol(R1);
  hairpin.loadDestinationPort(R2).loadSourcePort(R3).remember("loops", R0, LOOP_MS);
  hairpin.loadAddress(gateway, R0).setSource(R0);
  batch.addRule("postrouting", hairpin);

  for (auto address : marked) buildMark(batch, address, true);
  for (auto local : locals) buildHairpin(batch, local, true);
}

}  // namespace orch::network::overlay
