#include "nft-balancer.h"

#include <netinet/in.h>

#include <algorithm>

#include "lib/conntrack.h"
#include "nft-rules.h"
#include "orch/attempt.h"

namespace orch::network::overlay {

void NftBalancer::removeAll() {
  if (nftTableExists(TABLE)) NftBatch(TABLE).deleteTable().commit();
}

std::string NftBalancer::apply(const BalancerChange& change) {
  if (change.complete || !built) {
    built = false;
    answered.look();
  }
  auto before = take(change);
  // Before the rules, so that nobody who is led here meets a silence.
  for (auto& [address, backends] : before) {
    if (services.count(address) > 0) answered.add(address);
  }
  commit(change, before);
  answered.keepOnly(services);
  auto forgotten = attemptNow([&] { forget(change, before); });
  return forgotten.ok() ? "" : forgotten.message().cStr();
}

std::vector<NftBalancer::Before> NftBalancer::take(const BalancerChange& change) {
  std::vector<Before> before;
  if (change.complete) {
    services.clear();
    locals.clear();
  }
  for (auto& [address, wanted] : change.services) {
    auto known = services.find(address);
    auto backends = known == services.end() ? Backends() : known->second;
    if (wanted) {
      services[address] = *wanted;
    } else if (known != services.end()) {
      services.erase(known);
    }
    before.push_back({address, std::move(backends)});
  }
  return before;
}

void NftBalancer::commit(const BalancerChange& change, const std::vector<Before>& before) {
  NftBatch batch(TABLE);
  for (auto& [address, backends] : before) {
    auto now = services.find(address);
    buildService(batch, address, backends, now == services.end() ? Backends() : now->second);
  }
  for (auto& [local, there] : change.locals) {
    bool changed = there ? locals.insert(local).second : locals.erase(local) > 0;
    if (changed) buildHairpin(batch, local, there);
  }
  if (built && batch.empty()) return;
  ++commits;
  if (built && attemptNow([&] { batch.commit(netfilter); }).ok()) return;
  // The first time, or somebody changed the table under us.
  built = false;
  NftBatch whole(TABLE);
  buildTable(whole, nftChains(netfilter, TABLE), services, locals);
  if (!attemptNow([&] { whole.commit(netfilter); }).ok()) {
    // Its sets or chains are not like ours: of another version.
    NftBatch anew(TABLE);
    anew.addTable().deleteTable();
    buildTable(anew, {}, services, locals);
    anew.commit(netfilter);
  }
  built = true;
}

void NftBalancer::forget(const BalancerChange& change, const std::vector<Before>& before) {
  std::vector<FlowsTo> flows;
  std::vector<Ipv4> newlyLed;
  for (auto& [address, backends] : before) {
    auto found = services.find(address);
    auto now = found == services.end() ? Backends() : found->second;
    for (auto& backend : backends) {
      bool stays = std::any_of(now.begin(), now.end(), [&](auto& one) {
        return one.address == backend.address && one.weight > 0;
      });
      if (!stays) flows.push_back({backend.address, IPPROTO_UDP});
    }
    if (!serves(backends) && serves(now)) newlyLed.push_back(address);
  }
  for (auto address : change.gone) flows.push_back({address, 0});
  forgetFlows(netfilter, flows);
  forgetUnled(netfilter, newlyLed);
}

}  // namespace orch::network::overlay
