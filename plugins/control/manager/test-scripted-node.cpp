// The agent of a node of the tests.
#include <kj/debug.h>

#include <algorithm>
#include <utility>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "state/events.h"
#include "test-cluster.h"

namespace orch::control::manager {

using schema::TaskState;

class ScriptedAgent final : public schema::Agent::Server {
 public:
  explicit ScriptedAgent(std::shared_ptr<ScriptedNode*> link) : link(std::move(link)) {}

  kj::Promise<void> assign(AssignContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    auto params = context.getParams();
    KJ_REQUIRE(params.getEpoch() >= node.epoch, "a lower epoch");
    node.epoch = params.getEpoch();
    ++node.orders;
    node.orderWords += params.totalSize().wordCount;
    std::map<std::string, ScriptedNode::Seen> kept;
    std::vector<std::string> changed;
    if (params.getComplete()) node.forgetNetworks();
    for (auto assignment : params.getAssignments()) {
      if (!assignment.isTask()) {
        node.takeNetwork(assignment);
        continue;
      }
      auto task = assignment.getTask();
      std::string id = task.getMeta().getId().cStr();
      auto it = node.tasks.find(id);
      auto state = it == node.tasks.end() ? task.getStatus().getState() : it->second.state;
      kept[id] = {task.getDesired(), state, task.getSpec().getContainer().getImage().cStr(),
                  task.getServiceName().cStr(), task.getSlot()};
      if (assignment.hasLogin()) {
        auto login = assignment.getLogin();
        kept[id].login =
            kj::str(login.getRegistry(), " ", login.getUser(), " ", login.getPassword()).cStr();
      }
      changed.push_back(id);
    }
    if (params.getComplete()) {
      ++node.completeSets;
      node.tasks.clear();
    }
    for (auto& entry : kept) node.tasks[entry.first] = entry.second;
    for (auto object : params.getGone()) {
      if (object.getKind() != schema::AssignedKind::TASK) {
        node.forgetNetwork(object);
        continue;
      }
      node.tasks.erase(object.getId().cStr());
      node.gone.push_back(object.getId().cStr());
    }
    for (auto& id : changed) node.follow(id);
    return kj::READY_NOW;
  }

  kj::Promise<void> logs(LogsContext context) override {
    auto params = context.getParams();
    auto request = params.getSink().linesRequest();
    auto line = request.initLines(1)[0];
    line.setText(kj::str("hello of ", params.getTaskId()).asBytes());
    auto& task = (*link)->tasks[params.getTaskId().cStr()];
    line.setTaskName(kj::str(task.serviceName.c_str(), ".", task.slot, ".", params.getTaskId()));
    auto sent = request.send().ignoreResult();
    if (!params.getOptions().getFollow()) return sent;
    return sent.then([] { return kj::Promise<void>(kj::NEVER_DONE); });
  }

  kj::Promise<void> exec(ExecContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    context.getResults().setRunning((*link)->onExec(context.getParams()));
    return kj::READY_NOW;
  }

  kj::Promise<void> attach(AttachContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    schema::Agent::ExecParams::Reader none;
    context.getResults().setRunning((*link)->onExec(none));
    context.getResults().setTerminal(true);
    context.getResults().setTakesInput(context.getParams().getInput());
    return kj::READY_NOW;
  }

  kj::Promise<void> processes(ProcessesContext context) override {
    context.getResults().initProcesses(1)[0].setCommand(context.getParams().getTaskId());
    return kj::READY_NOW;
  }

  kj::Promise<void> usage(UsageContext context) override {
    context.allowCancellation();
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& asked = (*link)->measured.emplace_back();
    for (auto id : context.getParams().getTaskIds()) asked.emplace_back(id.cStr());
    if ((*link)->silent) return kj::NEVER_DONE;
    auto list = context.getResults().initUsages(asked.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setId(asked[i].c_str());
      list[i].setCpuNs(7);
    }
    if (context.getParams().getHost()) context.getResults().initHost().setCpuNs(9);
    return kj::READY_NOW;
  }

  kj::Promise<void> ping(PingContext) override {
    if (*link != nullptr && (*link)->answersPing) return kj::READY_NOW;
    return kj::NEVER_DONE;
  }

  kj::Promise<void> settled(SettledContext) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    if (node.confirms) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    node.unconfirmed.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

  kj::Promise<void> volumes(VolumesContext context) override {
    auto list = context.getResults().initVolumes(here().size());
    uint32_t i = 0;
    for (auto& [name, user] : here()) {
      list[i].setName(name.c_str());
      if (!user.empty()) list[i].initUsedBy(1).set(0, user.c_str());
      ++i;
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> checkNetworks(CheckNetworksContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    if (!node.answersChecks) return kj::NEVER_DONE;
    node.answerCheck(context.getParams(), context.getResults());
    return kj::READY_NOW;
  }
  kj::Promise<void> removeVolume(RemoveVolumeContext context) override {
    auto found = here().find(context.getParams().getName().cStr());
    bool there = found != here().end();
    if (there && !found->second.empty()) fail(kj::str("a task uses it"));
    if (there) here().erase(found);
    context.getResults().setFound(there);
    return kj::READY_NOW;
  }
  kj::Promise<void> pruneVolumes(PruneVolumesContext context) override {
    std::vector<std::string> removed;
    for (auto& [name, user] : here()) {
      if (user.empty()) removed.push_back(name);
    }
    auto list = context.getResults().initRemoved(removed.size());
    for (uint32_t i = 0; i < removed.size(); ++i) {
      list.set(i, removed[i].c_str());
      here().erase(removed[i]);
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> readBlob(ReadBlobContext context) override {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    auto& node = **link;
    ++node.reads;
    auto params = context.getParams();
    node.lastRead = kj::str(params.getImage(), " ", params.getBlob(), " ", params.getOffset(), " ",
                            params.getMaxBytes())
                        .cStr();
    if (!node.sends) return kj::NEVER_DONE;
    context.getResults().setData(kj::StringPtr(node.blob.c_str()).asBytes());
    context.getResults().setTotalBytes(node.blob.size());
    return kj::READY_NOW;
  }

 private:
  std::map<std::string, std::string>& here() {
    KJ_REQUIRE(*link != nullptr, "the agent is gone");
    return (*link)->volumes;
  }

  std::shared_ptr<ScriptedNode*> link;
};

ScriptedNode::ScriptedNode(testing::VirtualWorld& world, schema::Dispatcher::Client dispatcher,
                           std::string id)
    : world(world),
      dispatcher(kj::mv(dispatcher)),
      id(std::move(id)),
      beating(kj::READY_NOW),
      reports(*this) {}
ScriptedNode::~ScriptedNode() noexcept(false) {
  if (link) *link = nullptr;
}

void ScriptedNode::open() {
  link = std::make_shared<ScriptedNode*>(this);
  beating = heartbeats().promise().eagerlyEvaluate(nullptr);
  world.settle();
}

Task<void> ScriptedNode::openSession() {
  auto request = dispatcher.openRequest();
  request.setNodeId(id.c_str());
  auto description = request.initDescription();
  description.setHostname(kj::str("host-", id.c_str()));
  description.setCpuNanos(cpuNanos);
  description.setMemoryBytes(memoryBytes);
  description.initRuntimes(1).set(0, "sim");
  auto plugins = description.initPlugins(drivers.size());
  for (uint32_t i = 0; i < drivers.size(); ++i) plugins.set(i, drivers[i].c_str());
  if (!drivers.empty()) description.setAddress(address.c_str());
  if (describes) describes(description);
  auto list = description.initRoutes(routes.size());
  for (uint32_t i = 0; i < routes.size(); ++i) list.set(i, routes[i].c_str());
  auto ports = description.initUnanswered(unanswered.size());
  for (uint32_t i = 0; i < ports.size(); ++i) ports.set(i, unanswered[i].c_str());
  if (addresses > 0) {
    auto pool = description.initNetworks(1)[0];
    pool.setName("bridge");
    pool.setTotal(addresses);
  }
  request.setAgent(kj::heap<ScriptedAgent>(link));
  auto opened = co_await request.send();
  session = opened.getSession();
  // What the last session did not get through.
  for (auto& entry : std::exchange(unheard, {})) report(entry.first, entry.second);
}

void ScriptedNode::close(bool leaves) {
  auto request = current().closeRequest();
  request.setLeaves(leaves);
  request.send().wait(world.waitScope());
  cut();
}

void ScriptedNode::confirm() {
  confirms = true;
  for (auto& one : std::exchange(unconfirmed, {})) one->fulfill();
}

void ScriptedNode::cut() {
  *link = nullptr;
  link = nullptr;
  session = nullptr;
  beating = kj::READY_NOW;
}

// A session until it is over, unless another one of this node ended it; then the next one.
Task<void> ScriptedNode::heartbeats() {
  for (;;) {
    auto opened = co_await attempt(openSession());
    bool open = opened.ok();
    while (open) {
      co_await world.env().timer().afterDelay(1 * kj::SECONDS);
      if (!beats) continue;
      auto request = current().heartbeatRequest();
      auto beat = co_await attempt(request.send());
      open = beat.ok();
    }
    session = nullptr;
    co_await world.env().timer().afterDelay(100 * kj::MILLISECONDS);
  }
}

void ScriptedNode::follow(const std::string& taskId) {
  auto task = tasks[taskId];
  bool ended = task.state >= TaskState::COMPLETE;
  if (ended) return;
  if (task.desired >= TaskState::SHUTDOWN) {
    if (obeysStop) report(taskId, TaskState::SHUTDOWN);
  } else if (task.desired == TaskState::READY) {
    if (task.state < TaskState::READY) report(taskId, TaskState::READY);
  } else if (task.state < TaskState::RUNNING) {
    auto state = onStart ? onStart(taskId, task) : TaskState::RUNNING;
    bool bad = state >= TaskState::COMPLETE;
    if (state != TaskState::NEW) report(taskId, state, bad ? "task: non-zero exit (1)" : "");
  }
}

void ScriptedNode::report(const std::string& taskId, TaskState state, const std::string& error) {
  tasks[taskId].state = state;
  mostRunning = std::max<size_t>(mostRunning, running());
  reports.add(send(taskId, state, error));
}

Task<void> ScriptedNode::send(std::string taskId, TaskState state, std::string error) {
  if (session == nullptr) {
    unheard.emplace_back(taskId, state);
    co_return;
  }
  auto request = current().reportRequest();
  auto entry = request.initStatuses(1)[0];
  entry.setTaskId(taskId.c_str());
  auto status = entry.initStatus();
  status.setState(state);
  status.setAtNs(world.env().nowNs());
  status.setError(error.c_str());
  if (restarted) status.initContainer().setLost(true);
  if (addresses > 0) status.initAddresses(1).set(0, "10.0.0.2");
  auto sent = co_await attempt(request.send());
  if (!sent.ok()) unheard.emplace_back(taskId, state);
}

uint32_t ScriptedNode::running() const {
  return std::count_if(tasks.begin(), tasks.end(),
                       [](auto& entry) { return entry.second.state == TaskState::RUNNING; });
}

schema::Session::Client& ScriptedNode::current() { return KJ_ASSERT_NONNULL(session); }

void ScriptedNode::offer(const std::map<std::string, std::vector<std::string>>& images) {
  auto request = current().offerImagesRequest();
  auto list = request.initImages(images.size());
  uint32_t i = 0;
  for (auto& [digest, names] : images) {
    list[i].setDigest(digest.c_str());
    auto given = list[i++].initNames(names.size());
    for (uint32_t j = 0; j < given.size(); ++j) given.set(j, names[j].c_str());
  }
  request.send().wait(world.waitScope());
}

}  // namespace orch::control::manager
