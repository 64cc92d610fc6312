#include "state/state.h"

#include <algorithm>
#include <utility>

#include "config.capnp.h"

namespace orch::control::manager {

const Object* State::find(Kind kind, std::string_view id) const {
  auto& kindObjects = all(kind);
  auto it = kindObjects.find(id);
  return it == kindObjects.end() ? nullptr : &it->second;
}

void State::apply(const Key& key, Change change, uint64_t atRevision) {
  auto& kindObjects = objects[static_cast<size_t>(key.kind)];
  auto index = traitsOf(key.kind).index;
  auto it = kindObjects.find(key.id);
  auto count = [&](int sign) {
    // A status may be loaded before what it is the status of.
    if (index != nullptr && it->second.words.size() > 0) index(*this, it->second, sign);
  };
  if (it != kindObjects.end()) count(-1);
  if (change.isDelete()) {
    if (key.kind == Kind::NETWORK) networkIndex.forget(key.id);
    if (it != kindObjects.end()) kindObjects.erase(it);
  } else {
    if (it == kindObjects.end()) it = kindObjects.try_emplace(key.id).first;
    auto& object = it->second;
    if (change.words.size() > 0) {
      object.words = kj::mv(change.words);
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

void State::indexService(State& state, const Object& object, int sign) {
  auto service = object.as<schema::Service>();
  state.newestStampNs = std::max(state.newestStampNs, service.getMeta().getCreatedAtNs());
  state.serviceIndex.count(service, sign);
  state.networkIndex.count(service, sign);
}

void State::indexNetwork(State& state, const Object& object, int sign) {
  state.networkIndex.count(object.as<schema::Network>(), sign);
}

void State::loaded(int64_t nowNs) {
  for (auto& entry : all(Kind::NETWORK)) {
    networkIndex.loaded(entry.second.as<schema::Network>(), nowNs);
  }
}

void State::indexRequest(State& state, const Object& object, int sign) {
  auto record = object.as<RequestRecord>();
  auto entry = std::make_pair(record.getAtNs(), text(record.getId()));
  if (sign > 0) {
    state.requests.insert(entry);
  } else {
    state.requests.erase(entry);
  }
}

void State::indexTask(State& state, const Object& object, int sign) {
  TaskReader task(object);
  state.newestStampNs = std::max(state.newestStampNs, task.getMeta().getCreatedAtNs());
  state.use.count(task, sign);
  state.networkIndex.count(task, sign);
  auto id = task.id();
  auto nodeId = text(task.getNodeId());
  auto serviceId = text(task.getServiceId());
  if (sign > 0) {
    if (!nodeId.empty()) state.byNode[nodeId].insert(id);
    state.byService[serviceId][task.slot()].push_back(&object);
    return;
  }
  if (!nodeId.empty()) {
    state.byNode[nodeId].erase(id);
    if (state.byNode[nodeId].empty()) state.byNode.erase(nodeId);
  }
  auto& slots = state.byService[serviceId];
  auto& inSlot = slots[task.slot()];
  inSlot.erase(std::remove(inSlot.begin(), inSlot.end(), &object), inSlot.end());
  if (inSlot.empty()) slots.erase(task.slot());
  if (slots.empty()) state.byService.erase(serviceId);
}

bool State::setPresence(const std::string& nodeId, Sighting now) {
  auto& entry = sightings.try_emplace(nodeId).first->second;
  bool same = entry.presence == now.presence;
  if (same) now.sinceNs = entry.sinceNs;
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

const State::SlotIndex* State::slots(std::string_view serviceId) const {
  auto it = byService.find(serviceId);
  return it == byService.end() ? nullptr : &it->second;
}

const std::set<std::string>& State::tasksOf(std::string_view nodeId) const {
  auto it = byNode.find(nodeId);
  return it == byNode.end() ? noTasks : it->second;
}

}  // namespace orch::control::manager
