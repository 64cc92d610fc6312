#include "state/state.h"

#include <algorithm>
#include <utility>

#include "config.capnp.h"

namespace orch::control::manager {

const Object* State::find(Kind kind, std::string_view id) const {
  auto entry = byId[static_cast<size_t>(kind)].find(id);
  return entry == nullptr ? nullptr : &entry->second;
}

void State::apply(const Key& key, Change change, uint64_t atRevision) {
  auto& traits = traitsOf(key.kind);
  auto& index = byId[static_cast<size_t>(key.kind)];
  auto& kindObjects = objects[static_cast<size_t>(key.kind)];
  auto entry = index.find(key.id);
  bool moves = change.isDelete() || entry == nullptr || entry->second.words.size() == 0;
  bool whole =
      moves ||
      (change.words.size() > 0 &&
       (traits.staysPut == nullptr || !traits.staysPut(entry->second, change.over(entry->second))));
  auto count = [&](int sign) {
    // A status may be loaded before what it is the status of.
    bool there = traits.index != nullptr && entry->second.words.size() > 0;
    if (there) traits.index(*this, entry->second, sign, whole);
  };
  if (entry != nullptr) count(-1);
  if (change.isDelete()) {
    if (key.kind == Kind::NETWORK) networkIndex.forget(key.id);
    if (entry != nullptr) {
      if (key.kind == Kind::NODE) removeNode(numbers.of(key.id));
      commonWords.release(entry->second.shared);
      index.remove(key.id);
      kindObjects.erase(OrderedId(key.id));
    }
  } else {
    if (entry == nullptr) {
      entry = &*kindObjects.try_emplace(OrderedId(key.id)).first;
      index.add(*entry);
    }
    auto& object = entry->second;
    if (change.words.size() > 0) {
      setWords(traits, object, kj::mv(change.words));
      object.revision = atRevision;
    }
    if (change.status.size() > 0) {
      object.status = kj::mv(change.status);
      object.statusRevision = atRevision;
    }
    count(1);
  }
  revision = std::max(revision, atRevision);
}

void State::setWords(const KindTraits& traits, Object& object, Words words) {
  auto before = object.shared;
  if (traits.split == nullptr) {
    object.words = kj::mv(words);
  } else {
    auto parts = traits.split({words.begin()});
    object.words = kj::mv(parts.own);
    object.shared = commonWords.hold(kj::mv(parts.shared));
  }
  commonWords.release(before);
}

void State::indexService(State& state, const Object& object, int sign, bool) {
  auto service = object.as<schema::Service>();
  ++state.serviceChanges;
  state.newestStampNs = std::max(state.newestStampNs, service.getMeta().getCreatedAtNs());
  state.serviceIndex.count(service, sign);
  state.networkIndex.count(service, sign);
}

void State::indexNetwork(State& state, const Object& object, int sign, bool) {
  state.networkIndex.count(object.as<schema::Network>(), sign);
}

void State::loaded(int64_t nowNs) {
  for (auto& entry : all(Kind::NETWORK)) {
    networkIndex.loaded(entry.second.as<schema::Network>(), nowNs);
  }
}

uint32_t State::numberFor(std::string_view nodeId) {
  auto number = numbers.of(nodeId);
  if (number != NodeNumbers::NONE) return number;
  number = numbers.add(std::string(nodeId));
  if (number >= nodes.size()) nodes.resize(number + 1);
  nodes[number].presence = sightingOf(nodeId).presence;
  return number;
}

// One that is taken away is seen to by removeNode.
void State::indexNode(State& state, const Object& object, int sign, bool) {
  if (sign < 0) return;
  auto node = object.as<schema::Node>();
  auto number = state.numberFor(manager::view(node.getMeta().getId()));
  state.nodes[number].object = &object;
  state.setUnwell(number, isDown(node),
                  node.getAvailability() == schema::Node::Availability::DRAIN);
  state.changedNodes.touch(number);
}

void State::removeNode(uint32_t number) {
  auto& entry = nodes[number];
  entry.object = nullptr;
  setUnwell(number, !entry.tasks.empty(), false);
  changedNodes.touch(number);
  forgetIfUnused(number);
}

void State::forgetIfUnused(uint32_t number) {
  auto& entry = nodes[number];
  if (entry.object == nullptr && entry.tasks.empty()) numbers.remove(number);
}

void State::setUnwell(uint32_t number, bool isAway, bool isDrained) {
  auto& entry = nodes[number];
  bool before = entry.isUnwell();
  entry.isAway = isAway;
  entry.isDrained = isDrained;
  if (isAway) {
    away.insert(number);
  } else {
    away.erase(number);
  }
  if (before && !entry.isUnwell()) forgetUnwell(number);
  if (before || !entry.isUnwell()) return;
  for (auto object : entry.tasks) addUnwell(TaskReader(*object), number);
}

void State::forgetUnwell(uint32_t number) {
  for (auto& id : std::exchange(nodes[number].unwellServices, {})) {
    auto of = unwellByService.find(id);
    of->second.erase(number);
    if (of->second.empty()) unwellByService.erase(of);
  }
}

void State::addUnwell(const TaskReader& task, uint32_t number) {
  auto serviceId = text(task.getServiceId());
  ++unwellByService[serviceId][number][task.slot()];
  nodes[number].unwellServices.insert(serviceId);
}

void State::removeUnwell(const TaskReader& task, uint32_t number) {
  auto& slots = unwellByService[text(task.getServiceId())][number];
  if (--slots[task.slot()] == 0) slots.erase(task.slot());
}

void State::addToNode(const TaskReader& task, const Object& object) {
  if (task.getNodeId().size() == 0) return;
  auto number = numberFor(manager::view(task.getNodeId()));
  auto& entry = nodes[number];
  if (entry.object == nullptr) setUnwell(number, true, false);
  entry.tasks.push_back(&object);
  if (entry.isUnwell()) addUnwell(task, number);
}

void State::removeFromNode(const TaskReader& task, const Object& object) {
  if (task.getNodeId().size() == 0) return;
  auto number = numbers.of(manager::view(task.getNodeId()));
  auto& entry = nodes[number];
  if (entry.isUnwell()) removeUnwell(task, number);
  std::swap(*std::find(entry.tasks.begin(), entry.tasks.end(), &object), entry.tasks.back());
  entry.tasks.pop_back();
  if (!entry.tasks.empty()) return;
  forgetUnwell(number);
  if (entry.object == nullptr) setUnwell(number, false, false);
  forgetIfUnused(number);
}

const State::SlotsByNode& State::unwellSlots(std::string_view serviceId) const {
  auto it = unwellByService.find(serviceId);
  return it == unwellByService.end() ? noSlots : it->second;
}

void State::indexRequest(State& state, const Object& object, int sign, bool) {
  auto record = object.as<RequestRecord>();
  auto entry = std::make_pair(record.getAtNs(), text(record.getId()));
  if (sign > 0) {
    state.requests.insert(entry);
  } else {
    state.requests.erase(entry);
  }
}

void State::indexTask(State& state, const Object& object, int sign, bool whole) {
  TaskReader task(object);
  state.newestStampNs = std::max(state.newestStampNs, task.getMeta().getCreatedAtNs());
  if (whole && sign > 0) state.addToNode(task, object);
  auto node = state.numbers.of(manager::view(task.getNodeId()));
  state.use.count(task, node, sign);
  if (node != NodeNumbers::NONE) state.changedUsage.touch(node);
  state.networkIndex.count(task, sign);
  if (whole && sign < 0) state.removeFromNode(task, object);
  auto serviceId = text(task.getServiceId());
  if (!whole) {
    if (sign > 0) state.byService[serviceId].look(task.slot());
    return;
  }
  auto& slots = state.byService[serviceId];
  if (sign > 0) return slots.add(task.slot(), object);
  slots.remove(task.slot(), object);
  if (slots.all().empty()) state.byService.erase(serviceId);
}

bool State::setPresence(const std::string& nodeId, Sighting now) {
  auto& entry = sightings.try_emplace(nodeId).first->second;
  bool same = entry.presence == now.presence;
  if (same) now.sinceNs = entry.sinceNs;
  auto number = numbers.of(nodeId);
  if (number != NodeNumbers::NONE) nodes[number].presence = now.presence;
  if (number != NodeNumbers::NONE && !same) changedNodes.touch(number);
  entry = std::move(now);
  return !same;
}

const Sighting& State::sightingOf(std::string_view nodeId) const {
  auto it = sightings.find(nodeId);
  return it == sightings.end() ? unseen : it->second;
}

bool State::isManager(std::string_view nodeId) const {
  if (nodeId == leader) return true;
  auto node = find(Kind::NODE, nodeId);
  return node != nullptr && node->as<schema::Node>().getManages();
}

schema::Node::State State::stateOf(schema::Node::Reader node) const {
  return stateOf(node, sightingOf(manager::view(node.getMeta().getId())).presence);
}

schema::Node::State State::stateOf(schema::Node::Reader node, Presence presence) {
  if (isDown(node)) return schema::Node::State::DOWN;
  return presence == Presence::HEARD ? schema::Node::State::READY : schema::Node::State::UNKNOWN;
}

const ServiceSlots* State::slots(std::string_view serviceId) const {
  auto it = byService.find(serviceId);
  return it == byService.end() ? nullptr : &it->second;
}

std::vector<std::string> State::tasksOf(std::string_view nodeId) const {
  std::vector<std::string> ids;
  auto number = numbers.of(nodeId);
  if (number == NodeNumbers::NONE) return ids;
  for (auto object : nodes[number].tasks) ids.push_back(TaskReader(*object).id());
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace orch::control::manager
