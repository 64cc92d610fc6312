// The agent's tasks, as other plugins of this host are told of them.
#include "agent.h"
#include "container-request.h"

namespace orch::control::agent {

class NodeAgent::FeedServer final : public schema::TaskFeed::Server {
 public:
  explicit FeedServer(kj::Own<Link> link) : link(kj::mv(link)) {}
  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    auto& agent = link->get();
    return agent.calls.wrap(agent.services.feed.watch(context.getParams().getSink()).promise());
  }

 private:
  kj::Own<Link> link;
};

schema::TaskFeed::Client NodeAgent::feed() { return kj::heap<FeedServer>(kj::addRef(*link)); }

std::vector<std::string> NodeAgent::fedTasks() {
  std::vector<std::string> ids;
  for (auto& entry : controllers) ids.push_back(entry.first);
  return ids;
}

bool NodeAgent::isFed(const std::string& id) { return controllers.count(id) > 0; }

void NodeAgent::feed(const std::string& id, schema::TaskEntry::Builder entry) {
  auto& controller = *controllers.at(id);
  auto& record = controller.record();
  entry.setTask(record.task().asReader());
  entry.setServing(controller.serves());
  NodeIdentity node{host.node().name, services.architecture};
  // One whose templates cannot be filled in never runs.
  attemptNow([&] { fillTemplates(record, node, entry.getTask().getSpec().getContainer()); });
}

// Before the node itself leads nobody to it any more: where others still are led here, there is
// somebody to answer them.
Task<void> TaskController::retire() {
  if (!serving) co_return;
  serving = false;
  services.feed.changed(task->id());
  bool settled = co_await services.feed.settled();
  if (settled) co_return;
  services.host.log().warn(
      "task.watchers-late, going on without them",
      {{"task", task->id()}, {"limitMs", kj::str(services.settings.getLeaveLimitMs())}});
}

}  // namespace orch::control::agent
