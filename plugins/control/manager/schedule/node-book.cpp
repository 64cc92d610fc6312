#include "schedule/node-book.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
constexpr uint8_t ABSENT = UINT8_MAX;

// Tasks that are alike in this are for the same nodes.
std::string keyOf(const View& view, schema::TaskSpec::Reader spec) {
  std::string key = text(spec.getRuntime());
  for (auto constraint : spec.getPlacement().getConstraints()) key += '\n' + text(constraint);
  for (auto filter : spec.getPlacement().getFilters()) key += "\n:" + text(filter);
  for (auto resource : spec.getResources().getGeneric()) {
    key += '\t' + text(resource.getKind()) + '=' + std::to_string(resource.getAmount());
  }
  bool spans = false;
  eachNetwork(spec, [&](const std::string& name) {
    auto id = view.networkNamed(name);
    spans |= !id.empty();
    key += '\0' + name + '\0' + id;
  });
  // Of a cluster of one, no other host has to reach it.
  bool alone = spans && view.base().all(Kind::NODE).size() <= 1;
  return alone ? key + '\0' : key;
}

NodeBook::Held heldOn(const View& view, uint32_t node) {
  auto held = view.held(node);
  return {held.cpuNanos, held.memoryBytes, held.wanted, std::move(held.generic)};
}

std::vector<uint32_t> takeOnce(std::vector<uint32_t>& numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return std::exchange(numbers, {});
}
}  // namespace

void NodeBook::catchUp(const View& view) {
  if (view.serial() != viewSerial) {
    viewSerial = view.serial();
    seenInView = seenUsageInView = 0;
    for (auto node : takeOnce(nodesOfView)) refreshNode(view, node);
    for (auto node : takeOnce(usageOfView)) refreshUsage(view, node);
  }
  auto& state = view.base();
  state.nodeChanges().since(seenNodes, [&](uint32_t node) { refreshNode(view, node); });
  seenNodes = state.nodeChanges().newest();
  state.usageChanges().since(seenUsage, [&](uint32_t node) { refreshUsage(view, node); });
  seenUsage = state.usageChanges().newest();
  auto& nodes = view.nodesTouched();
  for (; seenInView < nodes.size(); ++seenInView) {
    nodesOfView.push_back(nodes[seenInView]);
    refreshNode(view, nodes[seenInView]);
  }
  auto& usage = view.usageTouched();
  for (; seenUsageInView < usage.size(); ++seenUsageInView) {
    usageOfView.push_back(usage[seenUsageInView]);
    refreshUsage(view, usage[seenUsageInView]);
  }
}

void NodeBook::refreshNode(const View& view, uint32_t node) {
  changedNodes.touch(node);
  if (node >= loads.size()) loads.resize(node + 1);
  auto& load = loads[node];
  Load now{load.id};
  KJ_IF_MAYBE (found, view.node(node)) {
    auto description = found->getDescription();
    now.id = view.idOf(node);
    now.there = true;
    now.cpuNanos = description.getCpuNanos();
    now.memoryBytes = description.getMemoryBytes();
    now.held = heldOn(view, node);
  }
  if (now == load) return;
  load = std::move(now);
  changedLoads.touch(node);
}

void NodeBook::refreshUsage(const View& view, uint32_t node) {
  if (node >= loads.size() || !loads[node].there) return;
  auto& load = loads[node];
  auto held = heldOn(view, node);
  if (held == load.held) return;
  load.held = held;
  changedLoads.touch(node);
}

NodeBook::Set& NodeBook::setOf(const std::string& key) {
  auto [it, isNew] = sets.try_emplace(key);
  it->second.usedAt = ++uses;
  if (!isNew || sets.size() <= MAX_SETS) return it->second;
  sets.erase(std::min_element(sets.begin(), sets.end(),
                              [](auto& a, auto& b) { return a.second.usedAt < b.second.usedAt; }));
  return it->second;
}

const NodeBook::Set* NodeBook::find(const View& view, schema::TaskSpec::Reader spec) {
  auto& set = setOf(keyOf(view, spec));
  if (set.judged == 0) set.seen = changedNodes.newest();
  auto end = std::min(limit(), set.judged + JUDGED_AT_ONCE);
  for (auto node : std::exchange(set.unsure, {})) judge(view, spec, node, set);
  for (; set.judged < end; ++set.judged) judge(view, spec, set.judged, set);
  changedNodes.since(set.seen, [&](uint32_t node) { judge(view, spec, node, set); });
  set.seen = changedNodes.newest();
  return set.judged < limit() ? nullptr : &set;
}

void NodeBook::judge(const View& view, schema::TaskSpec::Reader spec, uint32_t node, Set& set) {
  ++judged;
  view.look();
  if (node >= set.verdicts.size()) {
    set.verdicts.resize(node + 1, ABSENT);
    set.bits.resize(node / 64 + 1, 0);
  }
  auto& verdict = set.verdicts[node];
  verdict = ABSENT;
  KJ_IF_MAYBE (found, view.node(node)) {
    verdict = 0;
    KJ_IF_MAYBE (refusal, standingRefusal(view, *found, spec)) {
      std::pair reason(*refusal, wordsOf(view, {}, *found, spec, {}, *refusal));
      auto it = std::find(set.reasons.begin(), set.reasons.end(), reason);
      bool isNew = it == set.reasons.end() && set.reasons.size() + 1 < ABSENT;
      if (isNew) it = set.reasons.insert(it, std::move(reason));
      if (it == set.reasons.end()) --it;  // there are too many to tell them apart
      verdict = static_cast<uint8_t>(it - set.reasons.begin() + 1);
    }
  }
  auto put = [&](std::vector<uint64_t>& bits, bool has) {
    if (bits.size() < set.bits.size()) bits.resize(set.bits.size(), 0);
    auto bit = uint64_t(1) << node % 64;
    bits[node / 64] = has ? bits[node / 64] | bit : bits[node / 64] & ~bit;
  };
  put(set.bits, verdict == 0);
  if (!hasTerms(spec.getPlacement()) || verdict == ABSENT) return;
  bool sure = true;
  size_t wishes = 0;
  auto object = KJ_ASSERT_NONNULL(view.node(node));
  eachTerm(view.base().verdicts(), spec.getPlacement(), [&](Verdicts::Entry& term) {
    sure &= term.known;
    bool asks = term.known && term.subject == Term::Subject::NODE;
    if (!asks || (term.weight == 0 && verdict == 0)) return;  // met, then
    auto code = codeOf(view, object, term);
    sure &= code != Verdicts::UNKNOWN;
    if (term.weight == 0) return;
    if (wishes == set.wishes.size()) set.wishes.push_back({term.weight, {}});
    put(set.wishes[wishes++].bits, code == Verdicts::MET);
  });
  if (!sure) set.unsure.push_back(node);
}

const NodeBook::Division& NodeBook::divide(const View& view, const std::string& label) {
  if (divisions.size() >= MAX_DIVISIONS && divisions.count(label) == 0) divisions.clear();
  auto [it, isNew] = divisions.try_emplace(label);
  auto& division = it->second;
  if (isNew) division.id = nextDivision++;
  bool changed = isNew;
  division.branches.resize(limit(), UINT32_MAX);
  changedNodes.since(division.seen, [&](uint32_t node) {
    auto branch = UINT32_MAX;
    KJ_IF_MAYBE (found, view.node(node)) {
      auto value = attributeOf(view, *found, label);
      branch = division.numbers.try_emplace(value, division.numbers.size()).first->second;
    }
    changed |= std::exchange(division.branches[node], branch) != branch;
  });
  division.seen = changedNodes.newest();
  division.version += changed;
  return division;
}

kj::Maybe<Refusal> NodeBook::refusal(const View& view, const Set& set, const Wanted& wanted,
                                     uint32_t node, const Neighbours& neighbours) const {
  uint8_t verdict = node < set.verdicts.size() ? set.verdicts[node] : ABSENT;
  if (verdict == ABSENT) return Refusal::NOT_READY;
  kj::Maybe<Refusal> standing;
  if (verdict > 0) standing = set.reasons[verdict - 1].first;
  KJ_IF_MAYBE (refusal, standing) {
    if (*refusal < Refusal::CPU) return *refusal;  // in the order of the checks
  }
  auto& load = loads[node];
  auto lacks = [](uint64_t total, int64_t used, uint64_t more) {
    return more > 0 && static_cast<int64_t>(total) - used < static_cast<int64_t>(more);
  };
  auto resources = wanted.spec.getResources();
  if (lacks(load.cpuNanos, load.held.cpuNanos, resources.getReserveCpuNanos())) return Refusal::CPU;
  if (lacks(load.memoryBytes, load.held.memoryBytes, resources.getReserveMemoryBytes())) {
    return Refusal::MEMORY;
  }
  if (room(view, wanted, node) == 0) return Refusal::GENERIC;
  if (standing != nullptr) return standing;
  bool hasPort =
      wanted.ports.size() > 0 && takenHostPort(wanted.ports, view.nodeUsage(node)) != nullptr;
  if (hasPort) return Refusal::HOST_PORT;
  uint32_t most = wanted.spec.getPlacement().getMaxReplicasPerNode();
  if (most > 0 && view.wantedOn(wanted.serviceId, node) >= most) return Refusal::MAX_PER_NODE;
  bool apart = neighbours.any() && !neighbours.refusal(load.id).empty();
  if (apart) return Refusal::AFFINITY;
  return nullptr;
}

uint32_t NodeBook::room(const View& view, const Wanted& wanted, uint32_t node) const {
  uint64_t room = takesHostPort(wanted.ports) ? 1 : UINT32_MAX;
  auto wishes = wanted.spec.getResources().getGeneric();
  if (wishes.size() == 0) return static_cast<uint32_t>(room);
  auto& load = loads[node];
  auto there = KJ_ASSERT_NONNULL(view.node(load.id)).getDescription().getGeneric();
  for (auto wish : wishes) {
    auto free = freeOf(there, load.held.generic, manager::view(wish.getKind()));
    room = std::min(room, free / std::max<uint64_t>(1, wish.getAmount()));
  }
  return static_cast<uint32_t>(room);
}

Candidates NodeBook::explain(const View& view, const Set& set, const Wanted& wanted) const {
  Candidates result;
  Neighbours neighbours(view, wanted.serviceId, wanted.spec);
  std::vector<uint32_t> unmet(set.reasons.size(), 0);
  for (uint32_t node = 0; node < loads.size(); ++node) {
    if (!loads[node].there) continue;
    KJ_IF_MAYBE (why, refusal(view, set, wanted, node, neighbours)) {
      ++result.refused[static_cast<size_t>(*why)];
      if (*why == Refusal::AFFINITY) {
        ++result.unmet[std::string(neighbours.refusal(loads[node].id))];
      } else if (*why == Refusal::GENERIC) {
        auto found = KJ_ASSERT_NONNULL(view.node(loads[node].id));
        ++result.unmet[lackingWords(lackingKind(found, wanted.spec, loads[node].held.generic))];
      } else if (!isOfTasks(*why)) {
        ++unmet[set.verdicts[node] - 1];
      }
    } else {
      result.nodes.push_back(loads[node].id);
    }
  }
  for (size_t i = 0; i < unmet.size(); ++i) {
    auto& words = set.reasons[i].second;
    if (unmet[i] > 0 && !words.empty()) result.unmet[words] += unmet[i];
  }
  return result;
}

}  // namespace orch::control::manager
