#include <algorithm>

#include "decide/mode.h"
#include "schedule/placement.h"

namespace orch::control::manager {

namespace {
// A drained node is left last by what runs on all nodes, as those who collect the logs of the
// others.
bool servesOthers(const View& view, schema::Node::Reader node) {
  if (isDown(node)) return false;
  auto ids = view.base().tasksOf(manager::view(node.getMeta().getId()));
  return std::any_of(ids.begin(), ids.end(), [&](auto& id) {
    KJ_IF_MAYBE (task, view.task(id)) return task->slot().number > 0 && !isTerminal(*task);
    return false;
  });
}

Claim claimOfNode(const View& view, schema::Service::Reader service, schema::Node::Reader node) {
  if (!node.hasDescription()) return Claim::AWAY;  // it has joined, and nothing more
  if (node.getAvailability() == schema::Node::Availability::DRAIN) {
    return servesOthers(view, node) ? Claim::KEPT : Claim::UNWANTED;
  }
  auto task = service.getSpec().getTask();
  if (!mayMeetTerms(view, node, task)) return Claim::UNWANTED;
  if (isDown(node)) return Claim::AWAY;
  bool waits = node.getAvailability() == schema::Node::Availability::PAUSE ||
               !unmetTerm(view, node, task).empty();  // a filter has yet to say
  return waits ? Claim::KEPT : Claim::WANTED;
}

Claim claimOfSlot(const View& view, schema::Service::Reader service, const SlotKey& key) {
  KJ_IF_MAYBE (node, view.node(key.node)) return claimOfNode(view, service, *node);
  return Claim::GONE;
}

uint32_t nodesWanted(const View& view, schema::Service::Reader service) {
  auto has = view.wantedByNode(manager::view(service.getMeta().getId()));
  uint32_t wanted = 0;
  view.anyNode([&](schema::Node::Reader node) {
    auto claim = claimOfNode(view, service, node);
    bool kept = claim == Claim::KEPT && has[text(node.getMeta().getId())] > 0;
    wanted += claim == Claim::WANTED || kept;
    return false;
  });
  return wanted;
}

SlotPlan planNodes(const View& view, schema::Service::Reader service, const Slots& slots,
                   const std::vector<const Slot*>& occupied) {
  SlotPlan plan;
  plan.wantsAll = slots.settled() > 0;
  if (plan.wantsAll) return plan;
  auto full = [&] {
    plan.unfinished = plan.missing.size() + plan.superfluous.size() >= MAX_CHANGED_PER_PASS;
    return plan.unfinished;
  };
  std::set<std::string_view> taken;
  for (auto slot : occupied) {
    taken.insert(slot->key.node);
    auto claim = claimOfSlot(view, service, slot->key);
    // What is done is history already.
    bool ends = claim == Claim::UNWANTED && stateOf(view, *slot) == SlotState::LIVE;
    if (!ends && claim != Claim::GONE) continue;
    if (full()) return plan;
    plan.superfluous.push_back(slot);
  }
  view.anyNode([&](schema::Node::Reader node) {
    auto id = manager::view(node.getMeta().getId());
    if (taken.count(id) > 0 || claimOfNode(view, service, node) != Claim::WANTED) return false;
    if (full()) return true;
    plan.missing.push_back({0, std::string(id)});
    return false;
  });
  return plan;
}
}  // namespace

const Mode GLOBAL = {"global"_kj, nodesWanted, claimOfSlot, planNodes};

}  // namespace orch::control::manager
