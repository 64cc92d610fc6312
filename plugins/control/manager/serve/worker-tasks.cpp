#include "serve/worker-tasks.h"

#include <map>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/log-merge.h"

namespace orch::control::manager {

namespace {

using schema::TaskState;

std::string slotName(schema::Task::Reader task) {
  auto slot = task.getSlot() > 0 ? kj::str(task.getSlot()) : kj::str(task.getNodeId());
  return kj::str(task.getServiceName(), ".", slot).cStr();
}

bool isCalled(schema::Task::Reader task, kj::StringPtr typed) {
  kj::StringPtr id = task.getMeta().getId();
  auto name = slotName(task);
  return id.startsWith(typed) || typed == name.c_str() || typed == kj::str(name.c_str(), ".", id);
}

bool runsHere(schema::Task::Reader task) {
  auto state = task.getStatus().getState();
  return state >= TaskState::STARTING && state <= TaskState::RUNNING;
}

bool isDesired(schema::Task::Reader task, kj::StringPtr filter) {
  if (filter.size() == 0) return true;
  return (filter == "running") == (task.getDesired() <= TaskState::RUNNING);
}

}  // namespace

kj::String WorkerTasks::onlyManagersKnow() const {
  return kj::str("this node, '", parts.host.node().name,
                 "', is a worker of the cluster; ask a manager: ", parts.members.managerList());
}

schema::Agent::Client WorkerTasks::agent() {
  return parts.host.service<schema::Agent>(parts.agent);
}

bool WorkerTasks::isThisNode(kj::StringPtr typed) const {
  auto& node = parts.host.node();
  return typed == "self" || typed == node.id || typed == node.name;
}

void WorkerTasks::describeNode(Call<Cluster::NodeParams, Cluster::NodeResults> context) {
  if (!isThisNode(context.getParams().getId())) fail(onlyManagersKnow());
  auto node = context.getResults().initNode();
  node.initMeta().setId(parts.host.node().id);
  node.initDescription().setHostname(parts.host.node().name);
}

Task<WorkerTasks::Answer> WorkerTasks::ask() {
  auto sent = agent().tasksRequest().send();
  auto answer = co_await sent;
  co_return kj::mv(answer);
}

Task<void> WorkerTasks::list(Call<Cluster::TasksParams, Cluster::TasksResults> context) {
  auto filter = context.getParams().getFilter();
  if (filter.getNodeId().size() > 0 && !isThisNode(filter.getNodeId())) fail(onlyManagersKnow());
  auto answer = co_await ask();
  std::vector<schema::Task::Reader> shown;
  for (auto task : answer.getTasks()) {
    kj::StringPtr service = filter.getServiceId();
    bool asked =
        service.size() == 0 || service == task.getServiceId() || service == task.getServiceName();
    if (asked && isDesired(task, filter.getDesired())) shown.push_back(task);
  }
  auto results = context.getResults().initTasks(shown.size());
  for (uint32_t i = 0; i < shown.size(); ++i) results.setWithCaveats(i, shown[i]);
}

std::vector<schema::Task::Reader> WorkerTasks::found(const Answer& answer,
                                                     kj::StringPtr typed) const {
  std::vector<schema::Task::Reader> ofService, called;
  for (auto task : answer.getTasks()) {
    if (typed == task.getServiceName() || typed == task.getServiceId()) ofService.push_back(task);
    if (typed.size() > 0 && isCalled(task, typed)) called.push_back(task);
  }
  if (!ofService.empty()) return ofService;
  if (called.empty()) {
    fail(kj::str("no service and no task '", typed, "' has run here lately; ", onlyManagersKnow()));
  }
  return called;
}

Task<void> WorkerTasks::inspect(Call<Cluster::TaskParams, Cluster::TaskResults> context) {
  auto typed = kj::str(context.getParams().getId());
  auto answer = co_await ask();
  auto tasks = found(answer, typed);
  auto newest = tasks[0];
  for (auto task : tasks) {
    if (slotName(task) != slotName(newest)) {
      fail(kj::str("'", typed, "' is more than one task; 'orch task ls' lists them"));
    }
    if (task.getMeta().getCreatedAtNs() > newest.getMeta().getCreatedAtNs()) newest = task;
  }
  context.getResults().setTask(newest);
}

Task<WorkerTasks::One> WorkerTasks::running(kj::String typed) {
  auto answer = co_await ask();
  std::map<std::string, schema::Task::Reader> bySlot;
  for (auto task : found(answer, typed)) {
    if (!runsHere(task)) continue;
    auto [slot, isNew] = bySlot.try_emplace(slotName(task), task);
    bool newer = task.getMeta().getCreatedAtNs() > slot->second.getMeta().getCreatedAtNs();
    if (!isNew && newer) slot->second = task;
  }
  if (bySlot.empty()) fail(kj::str("'", typed, "' has no task that runs here"));
  if (bySlot.size() > 1) {
    kj::Vector<kj::StringPtr> names;
    for (auto& entry : bySlot) names.add(entry.first.c_str());
    fail(kj::str("'", typed, "' has ", names.size(),
                 " tasks that run here: ", kj::strArray(names, ", "), "; name one"));
  }
  auto& [name, task] = *bySlot.begin();
  co_return One{task.getMeta().getId().cStr(), name};
}

// One that has never had a container has no logs, which is no fault.
Task<void> WorkerTasks::read(LogMerge& merge, std::string id, schema::LogOptions::Reader options) {
  auto log = merge.begin(false);
  KJ_DEFER(merge.end(log));
  auto request = agent().logsRequest();
  request.setTaskId(id.c_str());
  request.setOptions(options);
  request.setSink(merge.sinkOf(log));
  auto done = co_await attempt(request.send().ignoreResult());
  if (!done.ok() && !plainText(done.error()).startsWith("no such container")) {
    kj::throwFatalException(kj::mv(done.error()));
  }
}

Task<void> WorkerTasks::logs(Call<Cluster::LogsParams, Cluster::LogsResults> context) {
  auto params = context.getParams();
  auto answer = co_await ask();
  auto options = params.getOptions();
  auto merge = kj::refcounted<LogMerge>(parts.env, params.getSink(), options.getFollow());
  KJ_DEFER(merge->close());
  kj::Vector<kj::Promise<void>> reading;
  for (auto task : found(answer, params.getId())) {
    reading.add(read(*merge, task.getMeta().getId().cStr(), options));
  }
  auto read = kj::joinPromises(reading.releaseAsArray()).then([&merge]() {
    merge->finish();
    return kj::Promise<void>(kj::NEVER_DONE);
  });
  co_await merge->run().promise().exclusiveJoin(kj::mv(read));
}

Task<void> WorkerTasks::exec(Call<Cluster::ExecParams, Cluster::ExecResults> context) {
  auto params = context.getParams();
  if (params.getProgram().getCommand().size() == 0) fail(kj::str("usage: a command is needed"));
  auto task = co_await running(kj::str(params.getId()));
  auto request = agent().execRequest();
  request.setTaskId(task.id.c_str());
  request.setProgram(params.getProgram());
  request.setOutput(params.getOutput());
  auto sent = request.send();
  auto answer = co_await sent;
  auto results = context.getResults();
  results.setRunning(answer.getRunning());
  results.setTask(task.name.c_str());
  results.setNode(parts.host.node().name);
}

Task<void> WorkerTasks::attach(Call<Cluster::AttachParams, Cluster::AttachResults> context) {
  auto params = context.getParams();
  auto task = co_await running(kj::str(params.getId()));
  auto request = agent().attachRequest();
  request.setTaskId(task.id.c_str());
  request.setInput(params.getInput());
  request.setSize(params.getSize());
  request.setOutput(params.getOutput());
  auto sent = request.send();
  auto answer = co_await sent;
  auto results = context.getResults();
  results.setRunning(answer.getRunning());
  results.setTerminal(answer.getTerminal());
  results.setTakesInput(answer.getTakesInput());
  results.setTask(task.name.c_str());
  results.setNode(parts.host.node().name);
}

Task<void> WorkerTasks::processes(
    Call<Cluster::ProcessesParams, Cluster::ProcessesResults> context) {
  auto task = co_await running(kj::str(context.getParams().getId()));
  auto request = agent().processesRequest();
  request.setTaskId(task.id.c_str());
  auto sent = request.send();
  auto answer = co_await sent;
  auto results = context.getResults();
  results.setProcesses(answer.getProcesses());
  results.setMore(answer.getMore());
  results.setTask(task.name.c_str());
  results.setNode(parts.host.node().name);
}

Task<void> WorkerTasks::usage(Call<Cluster::UsageParams, Cluster::UsageResults> context) {
  auto params = context.getParams();
  if (params.getNodes()) fail(onlyManagersKnow());
  auto answer = co_await ask();
  std::map<std::string, std::string> names;  // by id
  auto add = [&](schema::Task::Reader task) {
    if (runsHere(task)) names[task.getMeta().getId().cStr()] = slotName(task);
  };
  for (auto typed : params.getIds()) {
    for (auto task : found(answer, typed)) add(task);
  }
  if (params.getIds().size() == 0) {
    for (auto task : answer.getTasks()) add(task);
  }
  auto request = agent().usageRequest();
  auto ids = request.initTaskIds(names.size());
  uint32_t i = 0;
  for (auto& entry : names) ids.set(i++, entry.first.c_str());
  auto sent = request.send();
  auto used = co_await sent;
  auto list = context.getResults().initTasks(used.getUsages().size());
  for (i = 0; i < list.size(); ++i) {
    auto usage = used.getUsages()[i];
    list[i].setTask(names[usage.getId().cStr()].c_str());
    list[i].setNode(parts.host.node().name);
    list[i].setUsage(usage);
  }
}

}  // namespace orch::control::manager
