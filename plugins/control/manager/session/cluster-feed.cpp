#include "session/cluster-feed.h"

#include <utility>

namespace orch::control::manager {

namespace {

bool runs(const Snapshot& task) {
  return task && TaskReader(task).getStatus().getState() == schema::TaskState::RUNNING;
}

// Of its spec that which says where it is found.
void fillFound(const TaskReader& task, schema::Task::Builder target) {
  target.initMeta().setId(task.getMeta().getId());
  target.setServiceId(task.getServiceId());
  target.setServiceName(task.getServiceName());
  target.setServiceLabels(task.getServiceLabels());
  target.setSlot(task.slot().number);
  target.setNodeId(task.getNodeId());
  target.setDesired(task.getDesired());
  target.setPorts(task.getPorts());
  target.setLegs(task.getLegs());
  target.initSpec().setNetworks(task.getSpec().getNetworks());
  auto status = target.initStatus();
  status.setState(task.getStatus().getState());
  status.setAddresses(task.getStatus().getAddresses());
  status.setHostPorts(task.getStatus().getHostPorts());
  status.setRunningAtNs(task.getStatus().getRunningAtNs());
  status.initContainer().setHealth(task.getStatus().getContainer().getHealth());
}

}  // namespace

class ClusterFeed::Server final : public schema::TaskFeed::Server {
 public:
  Server(kj::Own<kj::Refcounted> owner, ClusterFeed& feed) : owner(kj::mv(owner)), feed(feed) {}
  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    auto watching = feed.watches.watch(context.getParams().getSink()).promise();
    return feed.calls.wrap(kj::mv(watching));
  }

 private:
  kj::Own<kj::Refcounted> owner;
  ClusterFeed& feed;
};

ClusterFeed::ClusterFeed(kj::Refcounted& owner, Env& env, Manager& manager)
    : owner(owner), manager(manager), watches(env, *this, WATCHERS_LIMIT / kj::MILLISECONDS) {
  manager.observe(*this);
}

schema::TaskFeed::Client ClusterFeed::client() {
  return kj::heap<Server>(kj::addRef(owner), *this);
}

void ClusterFeed::end() {
  changed.clear();
  calls.cancel(KJ_EXCEPTION(DISCONNECTED, "this manager leads no more, or not for sure"));
}

void ClusterFeed::changing(const Key& key, const Snapshot& before, const Snapshot& after) {
  if (!isWatched()) return;
  if (key.kind == Kind::TASK && (runs(before) || runs(after))) changed.insert(key.id);
  if (key.kind != Kind::NODE) return;
  bool was = before && isDown(before.as<schema::Node>());
  bool is = after && isDown(after.as<schema::Node>());
  if (was == is && before && after) return;
  for (auto& id : manager.state().tasksOf(key.id)) changed.insert(id);
}

void ClusterFeed::applied() {
  for (auto& id : std::exchange(changed, {})) watches.changed(id.c_str());
}

std::vector<std::string> ClusterFeed::fedTasks() {
  std::vector<std::string> ids;
  for (auto& entry : manager.state().all(Kind::TASK)) {
    if (runs(entry.second)) ids.push_back(TaskReader(entry.second).id());
  }
  return ids;
}

bool ClusterFeed::isFed(const std::string& id) {
  auto task = manager.state().find(Kind::TASK, id);
  return task != nullptr && runs(*task);
}

void ClusterFeed::feed(const std::string& id, schema::TaskEntry::Builder entry) {
  TaskReader task(*manager.state().find(Kind::TASK, id));
  fillFound(task, entry.initTask());
  auto node = manager.state().find(Kind::NODE, text(task.getNodeId()));
  bool there = node != nullptr && !isDown(node->as<schema::Node>());
  entry.setServing(isRunning(task) && there);
}

}  // namespace orch::control::manager
