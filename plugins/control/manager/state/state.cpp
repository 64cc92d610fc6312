#include "state/state.h"

#include <algorithm>

#include "config.capnp.h"

namespace orch::control::manager {

const Object* State::find(Kind kind, std::string_view id) const {
  auto& kindObjects = all(kind);
  auto it = kindObjects.find(id);
  return it == kindObjects.end() ? nullptr : &it->second;
}

void State::apply(const Key& key, Change change, uint64_t atRevision) {
  auto& kindObjects = objects[static_cast<size_t>(key.kind)];
  auto it = kindObjects.find(key.id);
  if (it != kindObjects.end()) index(key.kind, it->second, -1);
  if (change.isDelete()) {
    if (it != kindObjects.end()) kindObjects.erase(it);
  } else {
    if (it == kindObjects.end()) it = kindObjects.try_emplace(key.id).first;
    it->second.words = kj::mv(change.words);
    it->second.revision = atRevision;
    index(key.kind, it->second, 1);
  }
  revision = std::max(revision, atRevision);
}

void State::index(Kind kind, const Object& object, int sign) {
  switch (kind) {
    case Kind::TASK:
      return indexTask(object, sign);
    case Kind::SERVICE: {
      auto service = object.as<schema::Service>();
      newestStampNs = std::max(newestStampNs, service.getMeta().getCreatedAtNs());
      return serviceIndex.count(service, sign);
    }
    case Kind::REQUEST: {
      auto record = object.as<RequestRecord>();
      auto entry = std::make_pair(record.getAtNs(), text(record.getId()));
      if (sign > 0) {
        requests.insert(entry);
      } else {
        requests.erase(entry);
      }
      return;
    }
    case Kind::CLUSTER:
    case Kind::NODE:
      return;
  }
}

void State::indexTask(const Object& object, int sign) {
  auto task = object.as<schema::Task>();
  newestStampNs = std::max(newestStampNs, task.getMeta().getCreatedAtNs());
  use.count(task, sign);
  auto id = text(task.getMeta().getId());
  auto nodeId = text(task.getNodeId());
  auto serviceId = text(task.getServiceId());
  if (sign > 0) {
    if (!nodeId.empty()) byNode[nodeId].insert(id);
    byService[serviceId][task.getSlot()].push_back(&object);
    return;
  }
  if (!nodeId.empty()) {
    byNode[nodeId].erase(id);
    if (byNode[nodeId].empty()) byNode.erase(nodeId);
  }
  auto& slots = byService[serviceId];
  auto& inSlot = slots[task.getSlot()];
  inSlot.erase(std::remove(inSlot.begin(), inSlot.end(), &object), inSlot.end());
  if (inSlot.empty()) slots.erase(task.getSlot());
  if (slots.empty()) byService.erase(serviceId);
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
