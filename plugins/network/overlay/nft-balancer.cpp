#include "nft-balancer.h"

#include <netinet/in.h>

#include <algorithm>

#include "lib/conntrack.h"
#include "nft-rules.h"
#include "orch/attempt.h"

namespace orch::network::overlay {

namespace {
// Both are sorted by address.
std::vector<Ipv4> unwantedOf(const Backends& before, const Backends& now) {
  std::vector<Ipv4> unwanted;
  auto next = now.begin();
  for (auto& backend : before) {
    while (next != now.end() && next->address < backend.address) ++next;
    bool stays = next != now.end() && next->address == backend.address && next->weight > 0;
    if (!stays) unwanted.push_back(backend.address);
  }
  return unwanted;
}
}  // namespace

void NftBalancer::removeAll(const AddressKind& kind) {
  if (nftTableExists(TABLE, kind.family())) NftBatch(TABLE, kind.family()).deleteTable().commit();
}

std::string NftBalancer::apply(const BalancerChange& change) {
  if (change.complete || !built) {
    built = false;
    answered.look();
  }
  auto before = take(change);
  // Before the rules, so that nobody who is led here meets a silence.
  for (auto& [address, service, gone] : before) {
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
    told.clear();
    services.clear();
    locals.clear();
  }
  for (auto& [address, wanted] : change.services) {
    auto now = wanted.value_or(Balanced());
    auto& sorted = now.backends;
    auto byAddress = [](auto& left, auto& right) { return left.address < right.address; };
    if (!std::is_sorted(sorted.begin(), sorted.end(), byAddress)) {
      std::sort(sorted.begin(), sorted.end(), byAddress);
    }
    auto& had = told[address];
    auto& placed = services[address];
    Balanced fresh(keepPlaces(placed.backends, had, sorted), now.choice);
    before.push_back({address, std::move(placed), unwantedOf(had, sorted)});
    placed = std::move(fresh);
    had = std::move(sorted);
    if (wanted) continue;
    told.erase(address);
    services.erase(address);
  }
  return before;
}

void NftBalancer::commit(const BalancerChange& change, const std::vector<Before>& before) {
  NftBatch batch(TABLE, kind.family());
  for (auto& [address, had, gone] : before) {
    auto now = services.find(address);
    buildService(batch, kind, address, had, now == services.end() ? Balanced() : now->second);
  }
  for (auto& [local, there] : change.locals) {
    bool changed = there ? locals.insert(local).second : locals.erase(local) > 0;
    if (changed) buildHairpin(batch, kind, local, there);
  }
  if (built && batch.empty()) return;
  ++commits;
  if (built && attemptNow([&] { batch.commit(netfilter); }).ok()) return;
  // The first time, or somebody changed the table under us.
  built = false;
  NftBatch whole(TABLE, kind.family());
  buildTable(whole, kind, nftChains(netfilter, TABLE, kind.family()), services, locals);
  if (!attemptNow([&] { whole.commit(netfilter); }).ok()) {
    // Its sets or chains are not like ours: of another version.
    NftBatch anew(TABLE, kind.family());
    anew.addTable().deleteTable();
    buildTable(anew, kind, {}, services, locals);
    anew.commit(netfilter);
  }
  built = true;
}

void NftBalancer::forget(const BalancerChange& change, const std::vector<Before>& before) {
  std::vector<FlowsTo> flows;
  std::vector<Ipv4> newlyLed;
  for (auto& [address, had, gone] : before) {
    auto found = services.find(address);
    bool now = found != services.end() && serves(found->second.backends);
    for (auto unwanted : gone) flows.push_back({unwanted, IPPROTO_UDP});
    if (!serves(had.backends) && now) newlyLed.push_back(address);
  }
  for (auto address : change.gone) flows.push_back({address, 0});
  forgetFlows(netfilter, flows, kind.flowNames());
  forgetUnled(netfilter, newlyLed, kind.flowNames());
  if (change.complete) forgetStrays(change.there);
}

// Of a run that ended before it could forget them, and of what went while there was none.
void NftBalancer::forgetStrays(const std::set<Ipv4>& there) {
  auto isStray = [&](const LedFlow& flow) {
    if (there.count(flow.server) == 0) return true;
    if (flow.protocol != IPPROTO_UDP) return false;
    auto service = services.find(flow.asked);
    if (service == services.end()) return true;
    auto& backends = service->second.backends;
    return std::none_of(backends.begin(), backends.end(), [&](auto& backend) {
      return backend.address == flow.server && backend.weight > 0;
    });
  };
  network::forgetStrays(netfilter, isStray, kind.flowNames());
}

}  // namespace orch::network::overlay
