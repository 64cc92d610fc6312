#include "state/view.h"

#include <string.h>

#include <algorithm>

#include "orch/env.h"
#include "state/slots-reader.h"

namespace orch::control::manager {

namespace {
uint64_t rotated(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }
// What two tables count together under one key; without what comes to nothing.
template <typename Table, typename Key>
std::set<std::string> idsIn(const Table& stored, const Table& delta, const Key& key) {
  std::map<std::string, int64_t> counts;
  for (auto table : {&stored, &delta}) {
    auto it = table->find(key);
    if (it == table->end()) continue;
    for (auto& [id, count] : it->second) counts[id] += count;
  }
  std::set<std::string> ids;
  for (auto& [id, count] : counts) {
    if (count > 0) ids.insert(id);
  }
  return ids;
}
Words copied(const Words& words) {
  auto copy = kj::heapArray<capnp::word>(words.size());
  memcpy(copy.begin(), words.begin(), words.asBytes().size());
  return copy;
}
std::string firstOf(const std::set<std::string>& ids) {
  return ids.empty() ? std::string() : *ids.begin();
}
}  // namespace

View::View(const View& other, Seed seed) : View(other.state, other.nowNs, seed) {
  stampNs = other.stampNs;
  assumed = other.assumed;
  newNodes = other.newNodes;
  for (auto& id : assumed) noteNode(id);
  for (auto& [key, change] : other.changed) {
    if (change.isDelete()) erase(key);
    if (change.words.size() > 0) put(key, copied(change.words));
    if (change.status.size() > 0) putStatus(key, copied(change.status));
  }
  touched.clear();
}

// xoshiro256**: https://prng.di.unimi.it
uint64_t View::random() {
  uint64_t result = rotated(seed[1] * 5, 7) * 9;
  uint64_t shifted = seed[1] << 17;
  seed[2] ^= seed[0];
  seed[3] ^= seed[1];
  seed[1] ^= seed[2];
  seed[0] ^= seed[3];
  seed[2] ^= shifted;
  seed[3] = rotated(seed[3], 45);
  return result;
}

std::string View::newId() {
  return orch::idOf([this] { return random(); }).cStr();
}

Snapshot View::now(Kind kind, std::string_view id) const {
  auto object = state.find(kind, id);
  Snapshot before = object == nullptr ? Snapshot() : *object;
  if (changed.empty()) return before;
  auto it = changed.find(Key{kind, std::string(id)});
  return it == changed.end() ? before : it->second.over(before);
}

kj::Maybe<schema::Cluster::Reader> View::cluster() const {
  for (auto& entry : state.all(Kind::CLUSTER))
    return find<schema::Cluster>(Kind::CLUSTER, entry.first);
  for (auto& entry : changed) {
    if (entry.first.kind == Kind::CLUSTER) return entry.second.over({}).as<schema::Cluster>();
  }
  return nullptr;
}

std::vector<schema::Node::Reader> View::nodes() const {
  std::vector<schema::Node::Reader> result;
  anyNode([&](schema::Node::Reader node) {
    result.push_back(node);
    return false;
  });
  return result;
}

std::vector<std::string> View::idsWithPrefix(Kind kind, std::string_view prefix,
                                             size_t limit) const {
  std::set<std::string> ids;
  auto& objects = state.all(kind);
  for (auto it = objects.lower_bound(prefix); it != objects.end() && ids.size() < limit; ++it) {
    if (!it->first.starts_with(prefix)) break;
    if (now(kind, it->first)) ids.insert(it->first);
  }
  for (auto it = changed.lower_bound(Key{kind, std::string(prefix)}); it != changed.end(); ++it) {
    if (it->first.kind != kind || !it->first.id.starts_with(prefix)) break;
    if (!it->second.isDelete()) ids.insert(it->first.id);
  }
  std::vector<std::string> result(ids.begin(), ids.end());
  if (result.size() > limit) result.resize(limit);
  return result;
}

std::vector<std::string> View::serviceNames() const {
  std::set<std::string> names;
  for (auto index : {&state.services(), &serviceDelta}) {
    for (auto& entry : index->byName) {
      if (!serviceNamed(entry.first).empty()) names.insert(entry.first);
    }
  }
  return {names.begin(), names.end()};
}

const View::TaskIds* View::changedTasksOf(std::string_view serviceId) const {
  auto it = changedTasks.find(serviceId);
  return it == changedTasks.end() ? nullptr : &it->second;
}

std::vector<std::string> View::changedNodes() const {
  std::vector<std::string> ids;
  for (auto it = changed.lower_bound(Key{Kind::NODE, {}});
       it != changed.end() && it->first.kind == Kind::NODE; ++it) {
    ids.push_back(it->first.id);
  }
  return ids;
}

Slots View::slots(std::string_view serviceId) const {
  SlotsReader reader(*this, serviceId, Extent::ALL);
  while (reader.read()) {
  }
  return reader.take();
}

NodeUsage View::held(uint32_t node) const {
  auto& stored = state.usage().node(node);
  auto& delta = usageDelta.node(node);
  NodeUsage sum;
  sum.cpuNanos = stored.cpuNanos + delta.cpuNanos;
  sum.memoryBytes = stored.memoryBytes + delta.memoryBytes;
  sum.wanted = stored.wanted + delta.wanted;
  sum.generic = stored.generic;
  for (auto& [kind, held] : delta.generic) {
    auto& of = sum.generic[kind];
    of.amount += held.amount;
    for (auto& name : held.names) of.names[name.first] += name.second;
    std::erase_if(of.names, [](auto& name) { return name.second == 0; });
  }
  std::erase_if(sum.generic, [](auto& entry) { return entry.second == GenericHeld{}; });
  return sum;
}

NodeUsage View::nodeUsage(uint32_t node) const {
  auto sum = held(node);
  sum.hostPorts = state.usage().node(node).hostPorts;
  for (auto& port : usageDelta.node(node).hostPorts) sum.hostPorts[port.first] += port.second;
  return sum;
}

int64_t View::unplaced(std::string_view serviceId) const {
  return state.usage().service(serviceId).unplaced + usageDelta.service(serviceId).unplaced;
}

std::map<std::string, int64_t> View::wantedByNode(std::string_view serviceId) const {
  std::map<std::string, int64_t> sum;
  eachWanted(serviceId, [&](uint32_t node, int64_t wanted) { sum[idOf(node)] += wanted; });
  return sum;
}

int64_t View::wantedOn(std::string_view serviceId, uint32_t node) const {
  return state.usage().service(serviceId).on(node).wanted +
         usageDelta.service(serviceId).on(node).wanted;
}

std::string View::serviceNamed(std::string_view name) const {
  return firstOf(idsIn(state.services().byName, serviceDelta.byName, name));
}

std::set<std::string> View::dependentsOf(std::string_view name) const {
  return idsIn(state.services().dependents, serviceDelta.dependents, name);
}

int64_t View::running(std::string_view serviceId) const {
  auto& stored = state.usage().service(serviceId);
  int64_t sum = stored.running + usageDelta.service(serviceId).running;
  for (auto node : state.awayNodes()) sum -= stored.on(node).running;
  return sum;
}

std::map<std::string, ServiceIndex::PortUse> View::portUse(uint32_t key) const {
  std::map<std::string, ServiceIndex::PortUse> sum;
  for (auto index : {&state.services(), &serviceDelta}) {
    auto it = index->byPort.find(key);
    if (it == index->byPort.end()) continue;
    for (auto& use : it->second) {
      sum[use.first].ingress += use.second.ingress;
      sum[use.first].host += use.second.host;
    }
  }
  std::erase_if(sum, [](auto& use) { return use.second.ingress <= 0 && use.second.host <= 0; });
  return sum;
}

int64_t View::replicasOnNetwork(std::string_view network) const {
  int64_t sum = 0;
  for (auto index : {&state.services(), &serviceDelta}) {
    auto it = index->replicasByNetwork.find(network);
    if (it != index->replicasByNetwork.end()) sum += it->second;
  }
  return sum;
}

std::vector<std::string> View::servicesOn(std::string_view network) const {
  std::set<std::string> names;
  for (auto& id : idsIn(state.services().byNetwork, serviceDelta.byNetwork, network)) {
    KJ_IF_MAYBE (found, service(id)) names.insert(text(found->getSpec().getName()));
  }
  return {names.begin(), names.end()};
}

std::string View::networkNamed(std::string_view name) const {
  return firstOf(idsIn(state.networks().byName, networkDelta.byName, name));
}

std::vector<std::string> View::networkNames() const {
  std::set<std::string> names;
  for (auto index : {&state.networks(), &networkDelta}) {
    for (auto& entry : index->byName) {
      if (!networkNamed(entry.first).empty()) names.insert(entry.first);
    }
  }
  return {names.begin(), names.end()};
}

View::Addresses View::addresses(std::string_view network) const {
  Addresses found;
  int i = 0;
  for (auto index : {&state.networks(), &networkDelta}) {
    auto held = index->held.find(network);
    if (held != index->held.end()) found.heldIn[i] = &held->second;
    auto released = index->released.find(network);
    if (released != index->released.end()) found.releasedIn[i] = &released->second;
    ++i;
  }
  return found;
}

bool View::Addresses::isHeld(Ipv4 address) const {
  int64_t sum = 0;
  for (auto held : heldIn) {
    if (held == nullptr) continue;
    auto count = held->find(address);
    if (count != held->end()) sum += count->second;
  }
  return sum > 0;
}

int64_t View::Addresses::held() const {
  int64_t sum = 0;
  for (auto held : heldIn) {
    if (held == nullptr) continue;
    for (auto& entry : *held) sum += entry.second;
  }
  return sum;
}

int64_t View::Addresses::restsUntilNs(Ipv4 address) const {
  int64_t atNs = 0;
  for (auto released : releasedIn) {
    if (released == nullptr) continue;
    atNs = std::max(atNs, released->allAtNs);
    auto known = released->atNs.find(address);
    if (known != released->atNs.end()) atNs = std::max(atNs, known->second);
  }
  return atNs == 0 ? 0 : atNs + ADDRESS_REST_NS;
}

void View::noteForgotten(const TaskReader& task) {
  bool rested = isTerminal(task) && task.endedAtNs() + ADDRESS_REST_NS <= nowNs;
  if (rested) return;
  for (auto leg : task.getLegs()) forgotten.insert(text(leg.getNetwork()));
}

void View::noteForgotten(schema::VirtualAddress::Reader address) {
  forgotten.insert(text(address.getNetwork()));
}

Ipv4 View::newestAddress(std::string_view network) const {
  NetworkIndex::Newest newest;
  for (auto index : {&state.networks(), &networkDelta}) {
    auto it = index->newest.find(network);
    if (it != index->newest.end() && it->second.atNs >= newest.atNs) newest = it->second;
  }
  return newest.address;
}

void View::count(const Key& key, const Snapshot& object, int sign) {
  if (key.kind == Kind::NODE) noteNode(key.id);
  if (key.kind == Kind::SERVICE) touched.insert(key.id);
  if (!object) return;
  if (key.kind == Kind::TASK) {
    TaskReader counted(object);
    auto serviceId = text(counted.getServiceId());
    auto node = numberFor(manager::view(counted.getNodeId()));
    usageDelta.count(counted, node, sign);
    if (node != NodeNumbers::NONE) touchedUsage.push_back(node);
    networkDelta.count(counted, sign);
    changedTasks[serviceId].insert(key.id);
    touched.insert(serviceId);
  } else if (key.kind == Kind::SERVICE) {
    auto counted = object.as<schema::Service>();
    serviceDelta.count(counted, sign);
    networkDelta.count(counted, sign);
  } else if (key.kind == Kind::NETWORK) {
    networkDelta.count(object.as<schema::Network>(), sign);
  }
}

uint32_t View::numberOf(std::string_view nodeId) const {
  auto number = state.nodeNumbers().of(nodeId);
  if (number != NodeNumbers::NONE || newNodes.empty()) return number;
  auto it = std::find(newNodes.begin(), newNodes.end(), nodeId);
  if (it == newNodes.end()) return NodeNumbers::NONE;
  return state.nodeNumbers().limit() + static_cast<uint32_t>(it - newNodes.begin());
}

const std::string& View::idOf(uint32_t number) const {
  auto limit = state.nodeNumbers().limit();
  bool isNew = number >= limit && number - limit < newNodes.size();
  return isNew ? newNodes[number - limit] : state.nodeNumbers().idOf(number);
}

kj::Maybe<schema::Node::Reader> View::node(uint32_t number) const {
  if (!touchedNodes.empty()) return node(idOf(number));
  auto object = state.nodeAt(number);
  if (object == nullptr) return nullptr;
  return object->as<schema::Node>();
}

uint32_t View::numberFor(std::string_view nodeId) {
  if (nodeId.empty()) return NodeNumbers::NONE;
  auto number = numberOf(nodeId);
  if (number != NodeNumbers::NONE) return number;
  newNodes.emplace_back(nodeId);
  return numberLimit() - 1;
}

void View::noteNode(const std::string& nodeId) { touchedNodes.push_back(numberFor(nodeId)); }

void View::putRecord(const Key& key, Words Change::*record, Words words) {
  auto object = state.find(key.kind, key.id);
  Snapshot stored = object == nullptr ? Snapshot() : *object;
  auto [entry, isNew] = changed.try_emplace(key);
  auto& change = entry->second;
  count(key, isNew ? stored : change.over(stored), -1);
  if ((change.*record).size() > 0) replaced.push_back(kj::mv(change.*record));
  change.*record = kj::mv(words);
  count(key, change.over(stored), 1);
}

void View::put(const Key& key, Words words) { putRecord(key, &Change::words, kj::mv(words)); }

void View::putStatus(const Key& key, Words status) {
  putRecord(key, &Change::status, kj::mv(status));
}

void View::putStatusQuietly(const TaskReader& task, Words status) {
  auto serviceId = text(task.getServiceId());
  bool before = touched.count(serviceId) > 0;
  putStatus(Key{Kind::TASK, task.id()}, kj::mv(status));
  if (!before) touched.erase(serviceId);
}

void View::erase(const Key& key) {
  if (key.kind == Kind::TASK) {
    KJ_IF_MAYBE (erased, task(key.id)) noteForgotten(*erased);
  } else if (key.kind == Kind::SERVICE) {
    KJ_IF_MAYBE (erased, service(key.id)) {
      for (auto address : erased->getAddresses()) noteForgotten(address);
    }
  }
  count(key, now(key.kind, key.id), -1);
  auto it = changed.find(key);
  if (it != changed.end()) {
    for (auto words : {&it->second.words, &it->second.status}) {
      if (words->size() > 0) replaced.push_back(kj::mv(*words));
    }
  }
  if (state.find(key.kind, key.id) == nullptr) {
    if (it != changed.end()) changed.erase(it);
  } else {
    changed[key] = Change();
  }
}

schema::Node::State View::stateOf(schema::Node::Reader node) const {
  bool there = assumed.count(view(node.getMeta().getId())) > 0;
  return there && !isDown(node) ? schema::Node::State::READY : state.stateOf(node);
}

void View::wakeAt(std::string_view serviceId, int64_t atNs) {
  auto it = wakes.try_emplace(std::string(serviceId), atNs).first;
  it->second = std::min(it->second, atNs);
}

}  // namespace orch::control::manager
