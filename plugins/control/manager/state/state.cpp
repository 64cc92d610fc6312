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
  bool whole = change.status.size() == 0 || change.words.size() > 0;
  auto count = [&](int sign) {
    // A status may be loaded before what it is the status of.
    bool there = traits.index != nullptr && entry->second.words.size() > 0;
    if (there) traits.index(*this, entry->second, sign, whole);
  };
  if (entry != nullptr) count(-1);
  if (change.isDelete()) {
    if (key.kind == Kind::NETWORK) networkIndex.forget(key.id);
    if (key.kind == Kind::NODE) numbers.remove(key.id);
    if (entry != nullptr) {
      commonWords.release(entry->second.shared);
      index.remove(key.id);
      kindObjects.erase(key.id);
    }
  } else {
    if (entry == nullptr) {
      entry = &*kindObjects.try_emplace(key.id).first;
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

void State::indexNode(State& state, const Object& object, int sign, bool) {
  auto node = object.as<schema::Node>();
  auto id = text(node.getMeta().getId());
  state.changedNodes.touch(state.numbers.add(id));
  bool gone = sign < 0 && state.byNode.count(id) > 0;
  if (gone || (sign > 0 && isDown(node))) {
    state.away.insert(id);
  } else {
    state.away.erase(id);
  }
  if (sign > 0 && node.getAvailability() == schema::Node::Availability::DRAIN) {
    state.drained.insert(id);
  } else {
    state.drained.erase(id);
  }
  state.noteWhetherUnwell(id);
}

void State::addUnwell(const TaskReader& task) {
  auto nodeId = text(task.getNodeId());
  auto serviceId = text(task.getServiceId());
  ++unwellByService[serviceId][nodeId][task.slot()];
  servicesOfUnwell[nodeId].insert(serviceId);
}

void State::removeUnwell(const TaskReader& task) {
  auto& slots = unwellByService[text(task.getServiceId())][text(task.getNodeId())];
  if (--slots[task.slot()] == 0) slots.erase(task.slot());
}

void State::noteWhetherUnwell(const std::string& nodeId) {
  auto services = servicesOfUnwell.find(nodeId);
  if (services != servicesOfUnwell.end()) {
    for (auto& id : services->second) {
      auto nodes = unwellByService.find(id);
      nodes->second.erase(nodeId);
      if (nodes->second.empty()) unwellByService.erase(nodes);
    }
    servicesOfUnwell.erase(services);
  }
  if (!isUnwell(nodeId)) return;
  for (auto& id : tasksOf(nodeId)) addUnwell(TaskReader(*find(Kind::TASK, id)));
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
  state.use.count(task, sign);
  state.touchUsage(manager::view(task.getNodeId()));
  state.networkIndex.count(task, sign);
  auto serviceId = text(task.getServiceId());
  if (!whole) {
    if (sign > 0) state.byService[serviceId].look(task.slot());
    return;
  }
  auto id = task.id();
  auto nodeId = text(task.getNodeId());
  if (sign > 0) {
    if (!nodeId.empty()) {
      state.byNode[nodeId].insert(id);
      if (state.find(Kind::NODE, nodeId) == nullptr) state.away.insert(nodeId);
      if (state.isUnwell(nodeId)) state.addUnwell(task);
    }
    state.byService[serviceId].add(task.slot(), object);
    return;
  }
  if (!nodeId.empty()) {
    if (state.isUnwell(nodeId)) state.removeUnwell(task);
    state.byNode[nodeId].erase(id);
    if (state.byNode[nodeId].empty()) {
      state.byNode.erase(nodeId);
      if (state.find(Kind::NODE, nodeId) == nullptr) state.away.erase(nodeId);
      state.noteWhetherUnwell(nodeId);
    }
  }
  auto& slots = state.byService[serviceId];
  slots.remove(task.slot(), object);
  if (slots.all().empty()) state.byService.erase(serviceId);
}

void State::touchUsage(std::string_view nodeId) {
  if (nodeId.empty()) return;
  auto number = numbers.of(nodeId);
  if (number != NodeNumbers::NONE) changedUsage.touch(number);
}

bool State::setPresence(const std::string& nodeId, Sighting now) {
  auto& entry = sightings.try_emplace(nodeId).first->second;
  bool same = entry.presence == now.presence;
  if (same) now.sinceNs = entry.sinceNs;
  auto number = numbers.of(nodeId);
  if (number != NodeNumbers::NONE && !same) changedNodes.touch(number);
  entry = std::move(now);
  return !same;
}

const Sighting& State::sightingOf(std::string_view nodeId) const {
  auto it = sightings.find(nodeId);
  return it == sightings.end() ? unseen : it->second;
}

schema::Node::State State::stateOf(schema::Node::Reader node) const {
  if (isDown(node)) return schema::Node::State::DOWN;
  bool heard = sightingOf(manager::view(node.getMeta().getId())).presence == Presence::HEARD;
  return heard ? schema::Node::State::READY : schema::Node::State::UNKNOWN;
}

const ServiceSlots* State::slots(std::string_view serviceId) const {
  auto it = byService.find(serviceId);
  return it == byService.end() ? nullptr : &it->second;
}

const std::set<std::string>& State::tasksOf(std::string_view nodeId) const {
  auto it = byNode.find(nodeId);
  return it == byNode.end() ? noTasks : it->second;
}

}  // namespace orch::control::manager
