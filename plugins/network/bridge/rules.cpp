#include "rules.h"

#include <iterator>
#include <set>

namespace orch::network::bridge {

namespace {

constexpr Ipv4Subnet LOOPBACK{0x7f000000, 8};
constexpr Ipv6Subnet LOOPBACK6{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128};
constexpr int32_t RAW = -300;    // NF_IP_PRI_RAW
constexpr int32_t FILTER = 0;    // NF_IP_PRI_FILTER
constexpr int32_t SRCNAT = 100;  // NF_IP_PRI_NAT_SRC
constexpr const char* CHAINS[] = {"guard", "forward", "postrouting"};
constexpr const char* CHAINS6[] = {"forward", "postrouting"};

void buildGuards(NftBatch& batch, const Layout& layout) {
  kj::StringPtr bridge = layout.bridge.c_str();
  batch.addChain("guard", {"filter", NftPoint::PREROUTING, RAW});
  batch.addRule("guard", NftRule().from(bridge).destinationIn(LOOPBACK).drop());
  batch.addRule("guard", NftRule().from(bridge).sourceIn(LOOPBACK).drop());

  batch.addChain("forward", {"filter", NftPoint::FORWARD, FILTER});
  batch.addRule("forward", NftRule().notFrom(bridge).to(bridge).isNew().isDnat(false).drop());
}

void buildNat(NftBatch& batch, const Layout& layout) {
  kj::StringPtr bridge = layout.bridge.c_str();
  batch.addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  batch.addRule("postrouting", NftRule().sourceIn(layout.subnet).notTo(bridge).masquerade());
  batch.addRule("postrouting", NftRule().sourceIn(LOOPBACK).to(bridge).masquerade());
  batch.addRule("postrouting",
                NftRule().sourceIn(layout.subnet).to(bridge).isDnat(true).masquerade());
}

}  // namespace

void buildTable(NftBatch& batch, const Layout& layout, const std::vector<std::string>& chains) {
  batch.addTable();
  std::set<std::string> left(chains.begin(), chains.end());
  for (auto& chain : left) batch.deleteRules(chain.c_str());
  for (auto chain : CHAINS) left.erase(chain);
  buildGuards(batch, layout);
  buildNat(batch, layout);
  for (auto& chain : left) batch.deleteChain(chain.c_str());
}

void buildTable6(NftBatch& batch, const Layout& layout, const std::vector<std::string>& chains) {
  kj::StringPtr bridge = layout.bridge.c_str();
  auto& range = layout.twins->range;
  batch.addTable();
  std::set<std::string> left(chains.begin(), chains.end());
  for (auto& chain : left) batch.deleteRules(chain.c_str());
  for (auto chain : CHAINS6) left.erase(chain);
  batch.addChain("forward", {"filter", NftPoint::FORWARD, FILTER});
  batch.addRule("forward", NftRule(true).notFrom(bridge).to(bridge).isNew().isDnat(false).drop());
  batch.addChain("postrouting", {"nat", NftPoint::POSTROUTING, SRCNAT});
  batch.addRule("postrouting", NftRule(true).sourceIn6(range).notTo(bridge).masquerade());
  batch.addRule("postrouting", NftRule(true).sourceIn6(LOOPBACK6).to(bridge).masquerade());
  batch.addRule("postrouting", NftRule(true).sourceIn6(range).to(bridge).isDnat(true).masquerade());
  for (auto& chain : left) batch.deleteChain(chain.c_str());
}

std::vector<std::string> tableChains(bool ipv6) {
  if (ipv6) return {std::begin(CHAINS6), std::end(CHAINS6)};
  return {std::begin(CHAINS), std::end(CHAINS)};
}

}  // namespace orch::network::bridge
