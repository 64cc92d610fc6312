#include "decide/node-health.h"

#include "decide/slot-rules.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_STATUS_BYTES = 16 << 10;

// Tasks of a node that comes or goes need another look: they move, or count as running again.
void touchTasksOf(View& view, std::string_view nodeId) {
  for (auto& id : view.base().tasksOf(nodeId)) {
    KJ_IF_MAYBE (task, view.task(id)) view.touch(manager::view(task->getServiceId()));
  }
}

// Whether a state that was reached lets something else go on: a restart, or the next step of an
// update. Ten thousand tasks that start are no reason to look at their service so many times.
bool matters(const View& view, schema::Task::Reader task, schema::TaskState state) {
  if (state != schema::TaskState::RUNNING) return state > schema::TaskState::RUNNING;
  KJ_IF_MAYBE (service, view.service(manager::view(task.getServiceId()))) {
    auto update = service->getUpdate().getState();
    return update != schema::UpdateStatus::State::NONE &&
           update != schema::UpdateStatus::State::COMPLETED;
  }
  return false;
}
// A worker's word may be as long as it likes, but not in the store: there it would hold others up.
void setStatus(schema::Task::Builder task, schema::TaskStatus::Reader status) {
  size_t bytes = status.totalSize().wordCount * sizeof(capnp::word);
  if (bytes <= MAX_STATUS_BYTES) return task.setStatus(status);
  auto cut = task.initStatus();
  cut.setState(status.getState());
  cut.setAtNs(status.getAtNs());
  cut.setMessage(kj::str("the node's report of ", bytes, " bytes was cut"));
  cut.setError(shortened(status.getError().size() > 0 ? status.getError() : status.getMessage()));
  auto container = cut.initContainer();
  container.setPid(status.getContainer().getPid());
  container.setExitCode(status.getContainer().getExitCode());
  container.setOomKilled(status.getContainer().getOomKilled());
}
}  // namespace

void registerNode(View& view, std::string_view nodeId, schema::NodeDescription::Reader description,
                  bool leads) {
  auto fill = [&](schema::Node::Builder node) {
    node.setDescription(description);
    node.setState(schema::Node::State::READY);
    node.setMessage("");
    if (leads) {
      node.setRole(schema::Node::Role::MANAGER);
      node.setLeader(true);
    }
  };
  KJ_IF_MAYBE (known, view.node(nodeId)) {
    bool same = known->getState() == schema::Node::State::READY && known->getLeader() == leads &&
                capnp::canonicalize(known->getDescription()).asBytes() ==
                    capnp::canonicalize(description).asBytes();
    if (same) return;
    if (known->getState() == schema::Node::State::DOWN) touchTasksOf(view, nodeId);
    view.edit<schema::Node>(Kind::NODE, nodeId, fill);
  } else {
    view.createAs<schema::Node>(Key{Kind::NODE, std::string(nodeId)}, fill);
  }
}

void setNodeState(View& view, std::string_view nodeId, schema::Node::State state,
                  const std::string& message) {
  KJ_IF_MAYBE (known, view.node(nodeId)) {
    if (known->getState() == state) return;
    view.edit<schema::Node>(Kind::NODE, nodeId, [&](schema::Node::Builder node) {
      node.setState(state);
      node.setMessage(message.c_str());
    });
    touchTasksOf(view, nodeId);
  }
}

void checkDescription(std::string_view nodeId, schema::NodeDescription::Reader description,
                      size_t maxBytes) {
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
    if (capnp::canonicalize(before).asBytes() == capnp::canonicalize(after).asBytes()) return true;
    auto change = [&](schema::Task::Builder changed) {
      setStatus(changed, after);
      bool starts = after.getState() == schema::TaskState::RUNNING &&
                    before.getState() < schema::TaskState::RUNNING;
      if (starts) changed.setRunningAtNs(view.now());
    };
    if (matters(view, *task, after.getState())) {
      view.editTask(*task, change);
    } else {
      view.editTaskQuietly(*task, change);
    }
    return true;
  }
  return false;
}

}  // namespace orch::control::manager
