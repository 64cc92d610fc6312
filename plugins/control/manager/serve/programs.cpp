#include "serve/programs.h"

#include <kj/debug.h>

#include "decide/slot-rules.h"
#include "lib/program-relay.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/resolve.h"
#include "state/events.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr size_t MAX_NAMED = 5;
constexpr size_t MAX_COMMAND_BYTES = 1000;  // of an event
constexpr kj::Duration PATIENCE = 10 * kj::SECONDS;

kj::String shortName(const TaskReader& task) {
  return kj::str(task.getServiceName(), ".", nameOf(task.slot()).c_str());
}

std::string onlyOneOf(const View& view, const std::string& serviceId, kj::StringPtr typed) {
  std::vector<TaskReader> running;
  for (auto& slot : view.slots(serviceId)) {
    for (auto& task : slot.tasks) {
      if (mayRun(task)) running.push_back(task);
    }
  }
  if (running.size() == 1) return running[0].id();
  if (running.empty()) fail(kj::str("service '", typed, "' has no task that runs"));
  kj::Vector<kj::String> names;
  for (auto& task : running) {
    if (names.size() < MAX_NAMED) names.add(shortName(task));
  }
  if (running.size() > MAX_NAMED) names.add(kj::str("…"));
  fail(kj::str("service '", typed, "' has ", running.size(),
               " tasks that run: ", kj::strArray(names, ", "), "; name one"));
}

// The newest of its slot that runs.
std::string newestOf(const View& view, const std::string& id) {
  auto task = KJ_ASSERT_NONNULL(view.task(id));
  std::string found = id;
  for (auto& slot : view.slots(text(task.getServiceId()))) {
    if (slot.key != task.slot()) continue;
    for (auto& one : slot.tasks) {
      if (mayRun(one)) found = one.id();
    }
  }
  return found;
}

kj::String joined(schema::Program::Reader program) {
  auto words = KJ_MAP(word, program.getCommand()) { return kj::str(word); };
  auto text = kj::strArray(words, " ");
  if (text.size() <= MAX_COMMAND_BYTES) return text;
  return kj::str(text.slice(0, MAX_COMMAND_BYTES), "…");
}
}  // namespace

bool mayRun(const TaskReader& task) {
  auto state = task.getStatus().getState();
  return task.getNodeId().size() > 0 && state >= TaskState::STARTING && state <= TaskState::RUNNING;
}

std::string resolveRunning(const View& view, kj::StringPtr typed) {
  // A service's name may hold dots, so it is looked for first.
  auto service = view.serviceNamed(manager::view(typed));
  if (!service.empty()) return onlyOneOf(view, service, typed);
  bool nothing = typed.size() > 0 && typed.findFirst('.') == nullptr &&
                 view.idsWithPrefix(Kind::TASK, manager::view(typed), 1).empty();
  if (nothing) {
    auto meant = suggestion(manager::view(typed), view.serviceNames());
    fail(kj::str("no service and no task '", typed, "'",
                 meant.empty() ? "; see 'orch task ls'" : meant.c_str()));
  }
  auto id = resolveTask(view, typed);
  bool bySlot = typed.findFirst('.') != nullptr && !typed.endsWith(id.c_str());
  if (bySlot) id = newestOf(view, id);
  auto task = KJ_ASSERT_NONNULL(view.task(id));
  if (mayRun(task)) return id;
  fail(kj::str("task '", typed, "' does not run: it is ", stateName(task.getStatus().getState())));
}

TaskPrograms::Target TaskPrograms::find(kj::StringPtr typed) {
  View view(manager.state(), env.nowNs(), Seed{});
  auto id = resolveRunning(view, typed);
  auto task = KJ_ASSERT_NONNULL(view.task(id));
  auto nodeId = text(task.getNodeId());
  auto node = sessions.hostnameOf(nodeId);
  auto lost = kj::str("node '", node, "' was lost while this ran; how it ended is not known");
  KJ_IF_MAYBE (agent, sessions.agentOf(nodeId)) {
    return {id, shortName(task).cStr(), nodeId, kj::mv(node), *agent, kj::mv(lost)};
  }
  fail(kj::str("node '", node, "', where task '", shortName(task),
               "' is, has no session with the manager"));
}

template <typename T>
kj::Promise<T> TaskPrograms::whileInSession(const Target& target, kj::Promise<T> call) {
  auto over = sessions.whenOver(target.nodeId).catch_([](kj::Exception&&) {});
  auto gone = over.then([node = kj::str(target.node)]() -> kj::Promise<T> {
    fail(kj::str("node '", node, "' was lost before it answered"));
  });
  return call.exclusiveJoin(kj::mv(gone));
}

Task<void> TaskPrograms::exec(
    capnp::CallContext<Cluster::ExecParams, Cluster::ExecResults> context) {
  auto params = context.getParams();
  if (params.getProgram().getCommand().size() == 0) fail(kj::str("usage: a command is needed"));
  auto target = find(params.getId());
  auto request = target.agent.execRequest();
  request.setTaskId(target.taskId.c_str());
  request.setProgram(params.getProgram());
  request.setOutput(params.getOutput());
  kj::Promise<capnp::Response<schema::Agent::ExecResults>> sent = request.send();
  auto answer = co_await whileInSession(target, kj::mv(sent));
  auto command = joined(params.getProgram());
  auto id = kj::str(target.taskId.c_str());
  host.publish("task.exec", id,
               {{"task", target.name.c_str()},
                {"node", target.node},
                {"command", command},
                {"user", params.getProgram().getUser()}});
  auto tell = [this, id = kj::mv(id), name = target.name, node = kj::str(target.node),
               command = kj::mv(command)](kj::StringPtr code, kj::StringPtr error) {
    host.publish("task.exec-ended", id,
                 {{"task", name.c_str()},
                  {"node", node},
                  {"command", command},
                  {"exitCode", code},
                  {"error", error}});
  };
  auto results = context.getResults();
  results.setTask(target.name.c_str());
  results.setNode(target.node);
  results.setRunning(relay(target, answer.getRunning(), kj::mv(tell)));
}

schema::RunningProgram::Client TaskPrograms::relay(Target& target,
                                                   schema::RunningProgram::Client running,
                                                   OnEnd onEnd) {
  auto tell = [keep = kj::addRef(owner), onEnd = kj::mv(onEnd)](const ProgramEnd& end) mutable {
    KJ_IF_MAYBE (code, end.exitCode) {
      onEnd(kj::str(*code), end.error);
    } else {
      onEnd("unknown", end.error);
    }
  };
  return relayProgram(kj::mv(running), sessions.whenOver(target.nodeId), kj::mv(target.lost),
                      kj::mv(tell));
}

Task<void> TaskPrograms::attach(
    capnp::CallContext<Cluster::AttachParams, Cluster::AttachResults> context) {
  auto params = context.getParams();
  auto target = find(params.getId());
  auto request = target.agent.attachRequest();
  request.setTaskId(target.taskId.c_str());
  request.setInput(params.getInput());
  request.setSize(params.getSize());
  request.setOutput(params.getOutput());
  kj::Promise<capnp::Response<schema::Agent::AttachResults>> sent = request.send();
  auto answer = co_await whileInSession(target, kj::mv(sent));
  auto results = context.getResults();
  results.setTask(target.name.c_str());
  results.setNode(target.node);
  results.setTerminal(answer.getTerminal());
  results.setTakesInput(answer.getTakesInput());
  auto id = kj::str(target.taskId.c_str());
  host.publish("task.attach", id, {{"task", target.name.c_str()}, {"node", target.node}});
  auto tell = [this, id = kj::mv(id), name = target.name, node = kj::str(target.node)](
                  kj::StringPtr code, kj::StringPtr error) {
    host.publish("task.attach-ended", id,
                 {{"task", name.c_str()}, {"node", node}, {"exitCode", code}, {"error", error}});
  };
  results.setRunning(relay(target, answer.getRunning(), kj::mv(tell)));
}

Task<void> TaskPrograms::processes(
    capnp::CallContext<Cluster::ProcessesParams, Cluster::ProcessesResults> context) {
  auto target = find(context.getParams().getId());
  auto request = target.agent.processesRequest();
  request.setTaskId(target.taskId.c_str());
  kj::Promise<capnp::Response<schema::Agent::ProcessesResults>> sent = request.send();
  auto limited = env.timer().timeoutAfter(PATIENCE, kj::mv(sent));
  auto answer = co_await whileInSession(target, kj::mv(limited));
  auto results = context.getResults();
  results.setTask(target.name.c_str());
  results.setNode(target.node);
  results.setProcesses(answer.getProcesses());
  results.setMore(answer.getMore());
}

}  // namespace orch::control::manager
