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

kj::StringPtr ipvsTableOf(const AddressKind& kind) { return kind.isIpv6() ? "orch6"_kj : TABLE; }

void buildMark(NftBatch& batch, const AddressKind& kind, Ipv4 address, bool there) {
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    NftBytes key;
    key.protocol(protocol);
    kind.put(key, address);
    if (there) {
      batch.addElement("marks", key, NftBytes().mark(markOf(address, protocol)));
    } else {
      batch.deleteElement("marks", key);
    }
  }
}

void buildIpvsTable(NftBatch& batch, const AddressKind& kind,
                    const std::vector<std::string>& chains, Ipv4 gateway,
                    const std::set<Ipv4>& marked, const std::set<Ipv4>& locals) {
  const Register A0 = kind.slot(0), A1 = kind.slot(1);
  auto newRule = [&] {
    NftRule rule(kind.isIpv6());
    if (kind.isIpv6()) {
      rule.isIpv6();
    } else {
      rule.isIpv4();
    }
    return rule;
  };
  batch.addTable();
  batch.addMap("marks", {NftType::PROTOCOL, kind.type()}, {NftType::MARK});
  batch.addSet("hairpins", {kind.type(), kind.type()});
  batch.addTimedSet("loops", {kind.type(), NftType::PROTOCOL, NftType::PORT, NftType::PORT},
                    MOST_LOOPS);
  for (auto set : {"marks", "hairpins"}) batch.deleteElements(set);
  for (auto& chain : chains) batch.deleteRules(chain.c_str());

  batch.addChain("prerouting", {"filter", NftPoint::PREROUTING, EARLY});
  auto back = newRule();
  if (kind.isIpv6()) {
    back.destinationIs(kind.gateway());
  } else {
    back.destinationIn({gateway, 32});
  }
  back.loadSource(A0).loadProtocol(A1).loadSourcePort(A1 + 1);
  back.loadDestinationPort(A1 + 2).in("loops", A0).setDestination(A0);
  batch.addRule("prerouting", back);
  auto mark = newRule();
  mark.loadProtocol(R0).loadDestination(R1).lookUp("marks", R0, R0).setMark(R0);
  batch.addRule("prerouting", mark);

  batch.addChain("postrouting", {"filter", NftPoint::POSTROUTING, LATE});
  auto hairpin = newRule();
  hairpin.loadSource(A0).loadDestination(A1).in("hairpins", A0).loadProtocol(A1);
  hairpin.loadDestinationPort(A1 + 1).loadSourcePort(A1 + 2).remember("loops", A0, LOOP_MS);
  if (kind.isIpv6()) {
    hairpin.loadAddress(kind.gateway(), A0).setSource(A0);
  } else {
    hairpin.loadAddress(gateway, A0).setSource(A0);
  }
  batch.addRule("postrouting", hairpin);

  for (auto address : marked) buildMark(batch, kind, address, true);
  for (auto local : locals) buildHairpin(batch, kind, local, true);
}

}  // namespace orch::network::overlay
