#include <algorithm>
#include <tuple>

#include "decide/mode.h"

namespace orch::control::manager {

namespace {
// Those that go first: what does not run, then the n-th copy on its node with the highest n, then
// the highest slot.
std::vector<const Slot*> surplusOf(const std::vector<const Slot*>& occupied, size_t count) {
  struct Rank {
    bool idle;
    uint32_t copy;
    const Slot* slot;
  };
  std::vector<Rank> ranks;
  ranks.reserve(occupied.size());
  std::map<std::string_view, uint32_t> copies;
  for (auto slot : occupied) {
    std::string_view node;
    for (auto& task : slot->tasks) {
      if (isRunning(task)) node = manager::view(task.getNodeId());
    }
    ranks.push_back({node.empty(), node.empty() ? 0 : ++copies[node], slot});
  }
  auto goesFirst = [](const Rank& a, const Rank& b) {
    return std::tie(a.idle, a.copy, a.slot->key) > std::tie(b.idle, b.copy, b.slot->key);
  };
  auto end = ranks.begin() + static_cast<ptrdiff_t>(count);
  std::partial_sort(ranks.begin(), end, ranks.end(), goesFirst);
  std::vector<const Slot*> result;
  for (auto rank = ranks.begin(); rank != end; ++rank) result.push_back(rank->slot);
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
