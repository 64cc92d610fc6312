// What users change of the cluster and its nodes.
#include "decide/slot-rules.h"
#include "member/membership.h"
#include "member/rotation.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {
constexpr kj::StringPtr NO_CLUSTER = "there is no cluster yet; see 'orch init'"_kj;
}  // namespace

void rotateSecret(View& view, schema::Role role) {
  auto id = text(KJ_REQUIRE_NONNULL(view.cluster(), NO_CLUSTER).getMeta().getId());
  view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder cluster) {
    if (role == schema::Role::MANAGER) {
      cluster.setManagerSalt(view.newId());
    } else {
      cluster.setWorkerSalt(view.newId());
    }
  });
}

void checkChange(schema::ClusterChange::Reader change) {
  constexpr uint64_t HOUR_MS = 3'600'000, LEAST_MS = HOUR_MS, MOST_MS = 5 * 365 * 24 * HOUR_MS;
  auto expiryMs = change.getCertificateMs();
  if (expiryMs != 0 && (expiryMs < LEAST_MS || expiryMs > MOST_MS)) {
    fail(
        kj::str("usage: --cert-expiry must be 1h to 43800h, so that hosts that are off for a while "
                "come back, and less than the authority's own life"));
  }
  auto rebalance = change.getRebalance();
  if (rebalance.isSet() && rebalance.getSet().getMax() > 0) {
    constexpr uint32_t MOST_TASKS = 1000;
    constexpr uint64_t SECOND_MS = 1000, DAY_MS = 24 * HOUR_MS;
    auto terms = rebalance.getSet();
    if (terms.getMax() > MOST_TASKS || terms.getEveryMs() < SECOND_MS ||
        terms.getEveryMs() > DAY_MS) {
      fail(
          kj::str("usage: --rebalance must be none, or max=1 to max=1000 and every=1s to "
                  "every=24h"));
    }
  }
}

void updateCluster(View& view, schema::ClusterChange::Reader change) {
  checkChange(change);
  auto expiryMs = change.getCertificateMs();
  auto rebalance = change.getRebalance();
  auto id = text(KJ_REQUIRE_NONNULL(view.cluster(), NO_CLUSTER).getMeta().getId());
  view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder cluster) {
    if (expiryMs != 0) cluster.setCertificateMs(expiryMs);
    auto limit = change.getTaskHistoryLimit();
    if (limit.isSet()) cluster.setTaskHistoryLimit(limit.getSet());
    auto images = change.getImageLimit();
    if (images.isSetBytes()) cluster.setImageLimitBytes(images.getSetBytes());
    if (rebalance.isSet()) {
      cluster.setRebalanceMax(rebalance.getSet().getMax());
      cluster.setRebalanceEveryMs(rebalance.getSet().getEveryMs());
    }
  });
}

namespace {
// A manager that can lead when this one does not any more.
bool hasOtherManager(const View& view, std::string_view id) {
  auto& state = view.base();
  for (auto& [other, object] : state.all(Kind::NODE)) {
    auto node = view.node(other);
    bool ready = state.stateOf(object.as<schema::Node>()) == schema::Node::State::READY;
    bool manages = node != nullptr && KJ_ASSERT_NONNULL(node).getManages();
    if (other != id && manages && ready) return true;
  }
  return false;
}
}  // namespace

void updateNode(View& view, std::string_view id, schema::NodeChange::Reader change) {
  auto role = change.getRole();
  bool demotes = role.isSet() && role.getSet() == schema::Node::Role::WORKER;
  if (demotes && view.base().isManager(id) && !hasOtherManager(view, id)) {
    fail(
        kj::str("no other manager is ready, so that nobody could lead the cluster; 'orch node "
                "promote NODE' makes one"));
  }
  view.edit<schema::Node>(Kind::NODE, id, [&](schema::Node::Builder node) {
    auto availability = change.getAvailability();
    if (availability.isSet()) node.setAvailability(availability.getSet());
    if (role.isSet()) node.setManages(role.getSet() == schema::Node::Role::MANAGER);
    std::map<std::string, std::string> labels;
    for (auto label : node.getLabels().asReader())
      labels[text(label.getKey())] = text(label.getValue());
    for (auto key : change.getRemoveLabels()) labels.erase(key.cStr());
    for (auto label : change.getAddLabels()) labels[text(label.getKey())] = text(label.getValue());
    auto list = node.initLabels(labels.size());
    uint32_t i = 0;
    for (auto& [key, value] : labels) {
      list[i].setKey(key.c_str());
      list[i++].setValue(value.c_str());
    }
  });
  for (auto& taskId : view.base().tasksOf(id)) {
    KJ_IF_MAYBE (task, view.task(taskId)) view.touch(manager::view(task->getServiceId()));
  }
}

void checkManagers(const View& view, const std::string& id,
                   const std::function<bool(const std::string&)>& couldLead) {
  auto manages = [&](const std::string& other) {
    auto node = view.node(other);
    return node != nullptr && KJ_ASSERT_NONNULL(node).getManages();
  };
  if (manages(id) || !view.base().isManager(id)) return;
  for (auto& entry : view.base().all(Kind::NODE)) {
    if (manages(entry.first) && couldLead(entry.first)) return;
  }
  fail(kj::str(
      "no other manager could lead the cluster yet: one that was promoted needs some seconds "
      "until it has started again and has the cluster's keys; 'orch node ls' shows when it "
      "is reachable, then ask again"));
}

void removeNode(View& view, std::string_view id) {
  for (auto& taskId : view.base().tasksOf(id)) {
    KJ_IF_MAYBE (task, view.task(taskId)) {
      view.touch(manager::view(task->getServiceId()));
      if (isTerminal(*task)) continue;
      view.editStatus(*task, [&](schema::TaskStatus::Builder status) {
        status.setState(schema::TaskState::ORPHANED);
        status.setAtNs(view.now());
        status.setEndedAtNs(view.now());
        status.setMessage("its node was removed from the cluster");
      });
    }
  }
  view.erase(Key{Kind::NODE, std::string(id)});
  endRotationIfDone(view);
}

void checkRemoval(const State& state, const std::string& id, kj::StringPtr name, bool force) {
  if (id == state.leader) fail(kj::str("this node leads the cluster: it cannot be removed"));
  if (state.isManager(id)) {
    fail(kj::str("this node is a manager; 'orch node demote ", name, "' first"));
  }
  auto node = state.find(Kind::NODE, id)->as<schema::Node>();
  if (!force && state.stateOf(node) == schema::Node::State::READY) {
    fail(kj::str("node '", node.getDescription().getHostname(),
                 "' is ready; 'orch leave' on it first, or use --force"));
  }
}

}  // namespace orch::control::manager
