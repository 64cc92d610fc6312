#include "member/role-watch.h"

#include <algorithm>

#include "member/rotation.h"
#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

RoleWatch::RoleWatch(Manager& manager) : manager(manager) { manager.observe(*this); }

kj::Maybe<schema::Role> RoleWatch::roleOf(std::string_view nodeId) const {
  auto node = manager.state().find(Kind::NODE, nodeId);
  if (node == nullptr) return nullptr;
  bool manages = node->as<schema::Node>().getManages();
  return manages ? schema::Role::MANAGER : schema::Role::WORKER;
}

// Whether nodes are to trust something else than before.
bool RoleWatch::refresh() {
  for (auto& [id, object] : manager.state().all(Kind::CLUSTER)) {
    if (object.version() == wanted.version) return false;
    auto before = std::exchange(wanted, {});
    wanted.version = object.version();
    auto cluster = object.as<schema::Cluster>();
    if (cluster.getAuthority().size() == 0) return false;
    wanted.authority = trust::digestOf(cluster.getAuthority().cStr());
    wanted.ofManagers = trust::nameOf(trustedBy(cluster, true));
    wanted.ofWorkers = trust::nameOf(trustedBy(cluster, false));
    return before.ofManagers != wanted.ofManagers;
  }
  return false;
}

bool RoleWatch::isOld(const Held& held, schema::Role role) {
  refresh();
  if (held.authority.empty() || wanted.authority.empty()) return false;
  auto& trusted = role == schema::Role::MANAGER ? wanted.ofManagers : wanted.ofWorkers;
  return held.authority != wanted.authority || held.trusted != trusted;
}

Task<schema::Role> RoleWatch::changed(std::string nodeId, Held held) {
  for (;;) {
    if (!manager.leads()) {
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "this manager does not lead the cluster"));
    }
    KJ_IF_MAYBE (role, roleOf(nodeId)) {
      if (*role != held.role || isOld(held, *role)) co_return *role;
    }
    auto pair = kj::newPromiseAndFulfiller<void>();
    auto& others = waiting[nodeId];
    std::erase_if(others, [](auto& other) { return !other->isWaiting(); });
    others.push_back(kj::mv(pair.fulfiller));
    co_await pair.promise;
  }
}

bool RoleWatch::isAsked(const std::string& nodeId) {
  auto found = waiting.find(nodeId);
  return found != waiting.end() &&
         std::any_of(found->second.begin(), found->second.end(),
                     [](auto& fulfiller) { return fulfiller->isWaiting(); });
}

void RoleWatch::changing(const Key& key, const Snapshot&, const Snapshot&) {
  if (key.kind == Kind::NODE) changedNodes.push_back(key.id);
  clusterChanged |= key.kind == Kind::CLUSTER;
}

void RoleWatch::applied() {
  if (std::exchange(clusterChanged, false) && refresh()) reloaded();
  for (auto& id : std::exchange(changedNodes, {})) {
    auto found = waiting.find(id);
    if (found == waiting.end()) continue;
    auto heard = std::move(found->second);
    waiting.erase(found);
    for (auto& fulfiller : heard) fulfiller->fulfill();
  }
}

void RoleWatch::deposed() { reloaded(); }

void RoleWatch::reloaded() {
  changedNodes.clear();
  for (auto& [id, those] : std::exchange(waiting, {})) {
    for (auto& fulfiller : those) fulfiller->fulfill();
  }
}

}  // namespace orch::control::manager
