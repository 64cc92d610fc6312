#include "decide/node-health.h"

#include <set>

#include "decide/slot-rules.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_REPORTED = 10'000;
constexpr size_t MAX_LISTED = 10'000;  // labels, networks and kinds of resources of one node
constexpr size_t FIRST_WORDS = 128;    // of a message: enough for most statuses

// Tasks of a node that comes or goes need another look: they move, or count as running again.
void touchTasksOf(View& view, std::string_view nodeId) {
  for (auto& id : view.base().tasksOf(nodeId)) {
    KJ_IF_MAYBE (task, view.task(id)) view.touch(manager::view(task->getServiceId()));
  }
}

// Whether a state that was reached lets something else go on: a restart, or the next step of an
// update. Ten thousand tasks that start are no reason to look at their service so many times.
bool matters(const View& view, const TaskReader& task, schema::TaskState state) {
  if (state != schema::TaskState::RUNNING) return state > schema::TaskState::RUNNING;
  // One of several tasks of its slot: those that it replaces may end now.
  auto slots = view.base().slots(manager::view(task.getServiceId()));
  auto slot = slots == nullptr ? nullptr : slots->find(task.slot());
  if (slot != nullptr && slot->standing.rest == ServiceSlots::Rest::NONE) return true;
  // One that was moved from a drained node: others wait for it.
  KJ_IF_MAYBE (before, view.task(manager::view(task.getRestartOf()))) {
    if (isOnDrained(view, *before)) return true;
  }
  KJ_IF_MAYBE (service, view.service(manager::view(task.getServiceId()))) {
    auto update = service->getUpdate().getState();
    return update != schema::UpdateStatus::State::NONE &&
           update != schema::UpdateStatus::State::COMPLETED &&
           update != schema::UpdateStatus::State::ROLLBACK_COMPLETED;
  }
  return false;
}
// A worker's word may be as long as it likes, but not in the store: there it would hold others up.
void fillStatus(schema::TaskStatus::Builder target, schema::TaskStatus::Reader status,
                size_t bytes) {
  target.setState(status.getState());
  target.setAtNs(status.getAtNs());
  target.setMessage(kj::str("the node's report of ", bytes, " bytes was cut"));
  target.setError(
      shortened(status.getError().size() > 0 ? status.getError() : status.getMessage()));
  auto container = target.initContainer();
  container.setPid(status.getContainer().getPid());
  container.setExitCode(status.getContainer().getExitCode());
  container.setOomKilled(status.getContainer().getOomKilled());
  container.setLost(status.getContainer().getLost());
}

// The status that a report makes of `before`, or no words if that says the same.
Words statusAfter(schema::TaskStatus::Reader before, schema::TaskStatus::Reader report,
                  int64_t nowNs) {
  capnp::word room[FIRST_WORDS] = {};
  capnp::MallocMessageBuilder message(room);
  size_t bytes = report.totalSize().wordCount * sizeof(capnp::word);
  if (bytes <= MAX_STATUS_BYTES) {
    message.setRoot(report);
  } else {
    fillStatus(message.initRoot<schema::TaskStatus>(), report, bytes);
  }
  auto after = message.getRoot<schema::TaskStatus>();
  after.setRunningAtNs(before.getRunningAtNs());
  after.setEndedAtNs(before.getEndedAtNs());
  if (capnp::canonicalize(before).asBytes() == capnp::canonicalize(after.asReader()).asBytes()) {
    return nullptr;
  }
  auto state = after.getState();
  // Of one that has ended since, the report says no more than that it ran.
  bool runs = state == schema::TaskState::RUNNING || report.getRunningAtNs() != 0;
  if (runs && before.getState() < schema::TaskState::RUNNING) after.setRunningAtNs(nowNs);
  if (isTerminal(state)) after.setEndedAtNs(nowNs);
  return toWords(after.asReader());
}
}  // namespace

void registerNode(View& view, std::string_view nodeId,
                  schema::NodeDescription::Reader description) {
  auto fill = [&](schema::Node::Builder node) {
    node.setDescription(description);
    node.setAddress(description.getAddress());
  };
  KJ_IF_MAYBE (known, view.node(nodeId)) {
    bool same = capnp::canonicalize(known->getDescription()).asBytes() ==
                capnp::canonicalize(description).asBytes();
    if (!same) view.edit<schema::Node>(Kind::NODE, nodeId, fill);
  } else {
    view.createAs<schema::Node>(Key{Kind::NODE, std::string(nodeId)}, fill);
  }
}

int64_t reconcileNode(View& view, std::string_view nodeId, int64_t orphanAfterNs) {
  int64_t downSinceNs = 0;
  KJ_IF_MAYBE (node, view.node(nodeId)) {
    downSinceNs = node->getDownSinceNs();
  } else {
    return NEVER_NS;
  }
  auto& sighting = view.base().sightingOf(nodeId);
  bool there = sighting.presence == Presence::HEARD || sighting.presence == Presence::STUCK;
  bool changes = downSinceNs == 0 ? sighting.presence == Presence::MISSED : there;
  if (changes) {
    downSinceNs = downSinceNs == 0 ? view.now() : 0;
    view.edit<schema::Node>(Kind::NODE, nodeId, [&](schema::Node::Builder node) {
      node.setDownSinceNs(downSinceNs);
      node.setDownReason(sighting.reason.c_str());
    });
    touchTasksOf(view, nodeId);
  }
  if (downSinceNs == 0) return NEVER_NS;
  if (view.now() < downSinceNs + orphanAfterNs) return downSinceNs + orphanAfterNs;
  for (auto& id : view.base().tasksOf(nodeId)) {
    KJ_IF_MAYBE (task, view.task(id)) {
      if (isTerminal(*task)) continue;
      view.editStatus(*task, [&](schema::TaskStatus::Builder status) {
        status.setState(schema::TaskState::ORPHANED);
        status.setAtNs(view.now());
        status.setEndedAtNs(view.now());
        status.setMessage("its node has been down for too long");
      });
    }
  }
  return NEVER_NS;
}

namespace {
// As its own orchd has read them from the manifest.
bool areSound(GenericResources::Reader resources) {
  std::set<std::string> kinds;
  for (auto one : resources) {
    std::set<std::string> names;
    for (auto name : one.getNames()) {
      if (!isResourceName(view(name)) || !names.insert(text(name)).second) return false;
    }
    bool sound = isResourceKind(view(one.getKind())) && kinds.insert(text(one.getKind())).second &&
                 one.getAmount() >= 1 && one.getAmount() <= MAX_RESOURCE_AMOUNT &&
                 names.size() <= MAX_RESOURCE_NAMES &&
                 (names.empty() || names.size() == one.getAmount());
    if (!sound) return false;
  }
  return kinds.size() <= MAX_RESOURCE_KINDS;
}
}  // namespace

// A list of nothing takes no bytes, however long it says it is.
void checkReported(size_t tasks) {
  if (tasks > MAX_REPORTED) fail(kj::str("usage: more than ", MAX_REPORTED, " tasks at once"));
}

void checkDescription(std::string_view nodeId, schema::NodeDescription::Reader description,
                      size_t maxBytes) {
  if (nodeId.empty() || nodeId.size() > MAX_NODE_ID) {
    fail(kj::str("usage: a node's id has 1 to ", MAX_NODE_ID, " characters, not ", nodeId.size()));
  }
  size_t listed = size_t(description.getEngineLabels().size()) + description.getNetworks().size() +
                  description.getGeneric().size();
  if (listed > MAX_LISTED) {
    fail(kj::str("usage: node '", std::string(nodeId).c_str(), "' describes more than ", MAX_LISTED,
                 " things"));
  }
  if (!areSound(description.getGeneric())) {
    fail(kj::str("usage: node '", std::string(nodeId).c_str(),
                 "' describes its resources as no manifest can"));
  }
  size_t bytes = description.totalSize().wordCount * sizeof(capnp::word);
  if (bytes <= maxBytes) return;
  fail(kj::str("usage: node '", std::string(nodeId).c_str(), "' describes itself with ", bytes,
               " bytes; at most ", maxBytes, " can be kept: it has too many labels, plugins or ",
               "networks"));
}

bool mergeReport(View& view, std::string_view nodeId, schema::TaskReport::Reader report) {
  auto id = manager::view(report.getTaskId());
  KJ_IF_MAYBE (task, view.task(id)) {
    if (manager::view(task->getNodeId()) != nodeId) return false;
    auto before = task->getStatus();
    auto after = report.getStatus();
    if (after.getState() < before.getState() || isTerminal(before.getState())) return true;
    if (after.getState() == schema::TaskState::REMOVE) return true;  // never an observed state
    auto words = statusAfter(before, after, view.now());
    if (words.size() == 0) return true;
    if (matters(view, *task, after.getState())) {
      view.putStatus(Key{Kind::TASK, task->id()}, kj::mv(words));
    } else {
      view.putStatusQuietly(*task, kj::mv(words));
    }
    return true;
  }
  return false;
}

}  // namespace orch::control::manager
