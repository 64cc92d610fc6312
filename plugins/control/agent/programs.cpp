// Of the agent: programs that somebody runs in the node's containers, and their own.
#include "agent.h"
#include "lib/program-relay.h"
#include "orch/fail.h"

namespace orch::control::agent {

// The runtime of a task that has a container, or had one.
schema::Runtime::Client NodeAgent::runtimeOf(kj::StringPtr taskId) {
  auto known = controllers.find(taskId.cStr());
  if (known == controllers.end()) fail(kj::str("this node has no task '", taskId, "'"));
  auto name = known->second->record().task().getSpec().getRuntime();
  if (name.size() == 0) fail(kj::str("task '", taskId, "' has no container yet"));
  return services.runtime(kj::str("runtime.", name));
}

// Ended with the session that it was asked for through: nobody else could end it.
schema::RunningProgram::Client NodeAgent::whileInSession(schema::RunningProgram::Client running) {
  return relayProgram(kj::mv(running), sessionOver.addBranch(),
                      kj::str("node '", host.node().name, "' lost its manager"),
                      [](const ProgramEnd&) {});
}

Task<void> NodeAgent::exec(ExecContext context, bool forManager) {
  auto params = context.getParams();
  auto request = runtimeOf(params.getTaskId()).execRequest();
  request.setId(params.getTaskId());
  request.setProgram(params.getProgram());
  request.setOutput(params.getOutput());
  auto sent = request.send();
  auto answer = co_await sent;
  auto running = answer.getRunning();
  if (forManager) running = whileInSession(kj::mv(running));
  context.getResults().setRunning(kj::mv(running));
}

Task<void> NodeAgent::attach(AttachContext context, bool forManager) {
  auto params = context.getParams();
  auto request = runtimeOf(params.getTaskId()).attachRequest();
  request.setId(params.getTaskId());
  request.setInput(params.getInput());
  request.setSize(params.getSize());
  request.setOutput(params.getOutput());
  auto sent = request.send();
  auto answer = co_await sent;
  auto results = context.getResults();
  auto running = answer.getRunning();
  if (forManager) running = whileInSession(kj::mv(running));
  results.setRunning(kj::mv(running));
  results.setTerminal(answer.getTerminal());
  results.setTakesInput(answer.getTakesInput());
}

Task<void> NodeAgent::processes(ProcessesContext context) {
  auto request = runtimeOf(context.getParams().getTaskId()).processesRequest();
  request.setId(context.getParams().getTaskId());
  auto sent = request.send();
  auto answer = co_await sent;
  context.getResults().setProcesses(answer.getProcesses());
  context.getResults().setMore(answer.getMore());
}

}  // namespace orch::control::agent
