#include <algorithm>
#include <tuple>

#include "decide/mode.h"

namespace orch::control::manager {

namespace {
// Those that go first: what does not run, then the n-th copy on its node with the highest n, then
// the highest slot.
std::vector<const Slot*> surplusOf(const std::vector<const Slot*>& occupied, size_t count) {
  struct Rank {
    std::tuple<bool, uint32_t, SlotKey> key;
    const Slot* slot;
  };
  std::vector<Rank> ranks;
  std::map<std::string, uint32_t> copies;
  for (auto slot : occupied) {
    bool running = false;
    std::string node;
    for (auto& task : slot->tasks) {
      if (!isRunning(task)) continue;
      running = true;
      node = text(task.getNodeId());
    }
    uint32_t copy = running ? ++copies[node] : 0;
    ranks.push_back({{!running, copy, slot->key}, slot});
  }
  std::sort(ranks.begin(), ranks.end(), [](auto& a, auto& b) { return a.key > b.key; });
  std::vector<const Slot*> result;
  for (size_t i = 0; i < count; ++i) result.push_back(ranks[i].slot);
  return result;
}

uint32_t replicasWanted(const View&, schema::Service::Reader service) {
  return replicasOf(service.getSpec()).orDefault(0);
}

Claim claimOfNumber(const View&, schema::Service::Reader, const SlotKey&) { return Claim::WANTED; }

SlotPlan planReplicas(const View& view, schema::Service::Reader service, const Slots& slots,
                      const std::vector<const Slot*>& occupied) {
  SlotPlan plan;
  size_t wanted = replicasWanted(view, service);
  size_t has = occupied.size() + slots.settled();
  if (has >= wanted) {
    size_t surplus = has - wanted;
    plan.wantsAll = surplus > 0 && slots.settled() > 0;
    if (plan.wantsAll) return plan;
    plan.unfinished = surplus > MAX_CHANGED_PER_PASS;
    plan.superfluous = surplusOf(occupied, std::min<size_t>(surplus, MAX_CHANGED_PER_PASS));
    return plan;
  }
  size_t missing = wanted - has;
  std::set<uint32_t> taken;
  for (auto slot : occupied) taken.insert(slot->key.number);
  plan.unfinished = missing > MAX_CHANGED_PER_PASS;
  missing = std::min<size_t>(missing, MAX_CHANGED_PER_PASS);
  uint32_t number = slots.firstUnsettled(1);
  for (; plan.missing.size() < missing; number = slots.firstUnsettled(number + 1)) {
    if (taken.count(number) == 0) plan.missing.push_back({number, {}});
  }
  return plan;
}
}  // namespace

const Mode REPLICATED = {"replicated"_kj, replicasWanted, claimOfNumber, planReplicas};

}  // namespace orch::control::manager
