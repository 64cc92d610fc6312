#include "sim.h"

#include <kj/debug.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "signals.h"

namespace orch::runtime::sim {

using Stage = Container::Stage;

Container::Container(std::string id, Script script)
    : Container(std::move(id), std::move(script), kj::newPromiseAndFulfiller<void>(),
                kj::newPromiseAndFulfiller<void>()) {}

Container::Container(std::string id, Script script, kj::PromiseFulfillerPair<void> start,
                     kj::PromiseFulfillerPair<void> exit)
    : id(std::move(id)),
      script(std::move(script)),
      startSeen(kj::mv(start.fulfiller)),
      exitSeen(kj::mv(exit.fulfiller)),
      started(start.promise.fork()),
      exited(exit.promise.fork()) {}

void Container::exit(int code, int64_t nowNs) {
  if (stage == Stage::EXITED) return;
  stage = Stage::EXITED;
  exitCode = code;
  exitedAtNs = nowNs;
  startSeen->fulfill();
  exitSeen->fulfill();
}

void Container::hear(int signal, int64_t nowNs) {
  switch (signal) {
    case SIGKILL:
      exit(128 + SIGKILL, nowNs);
      break;
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
      if (!script.ignoresTerm) exit(script.exitCode, nowNs);
      break;
    default:
      break;  // as for a program that does nothing about it
  }
}

void Container::describe(schema::Container::Builder to) const {
  using State = schema::Container::State;
  to.setId(id.c_str());
  to.setState(stage == Stage::EXITED    ? State::EXITED
              : stage == Stage::RUNNING ? State::RUNNING
                                        : State::CREATED);
  to.setStartedAtNs(startedAtNs);
  if (stage == Stage::EXITED) describeExit(to.initExit());
  auto list = to.initLabels(labels.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    list[i].setKey(labels[i].first.c_str());
    list[i].setValue(labels[i].second.c_str());
  }
}

void Container::describeExit(schema::ExitStatus::Builder to) const {
  to.setCode(exitCode);
  to.setAtNs(exitedAtNs);
}

SimRuntime::SimRuntime(Env& env, kj::Duration createDelay, kj::Duration startDelay)
    : env(env), createDelay(createDelay), startDelay(startDelay), tasks(*this) {}

void SimRuntime::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "a simulated container failed", exception);
}

SimRuntime::Entry& SimRuntime::find(kj::StringPtr id) {
  auto found = containers.find(id.cStr());
  if (found == containers.end()) fail(kj::str("no such container '", id, "'"));
  return found->second;
}

kj::ForkedPromise<void> SimRuntime::keepGoing(Task<void> operation) {
  auto forked = whileAlive(kj::mv(operation)).fork();
  tasks.add(forked.addBranch().catch_([](kj::Exception&&) {}));
  return forked;
}

Task<kj::Own<Container>> SimRuntime::create(schema::ContainerRequest::Reader request) {
  auto id = kj::str(request.getId());
  if (containers.count(id.cStr()) == 0) {
    auto container = kj::refcounted<Container>(id.cStr(), parseScript(request));
    container->taskName = request.getTaskName().cStr();
    auto signal = request.getSpec().getStopSignal();
    container->stopSignal =
        signalNumber(signal.size() > 0 ? signal : request.getImage().getStopSignal());
    container->hasTerminal = request.getSpec().getTty();
    container->isInteractive = request.getSpec().getInteractive();
    container->memoryLimitBytes =
        static_cast<int64_t>(request.getResources().getLimitMemoryBytes());
    for (auto label : request.getLabels()) {
      container->labels.emplace_back(label.getKey().cStr(), label.getValue().cStr());
    }
    auto& entry = containers[id.cStr()];
    entry.container = kj::addRef(*container);
    entry.creating = keepGoing(runCreate(kj::mv(container)));
  }
  auto& entry = find(id);
  auto container = kj::addRef(*entry.container);
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, entry.creating) made = creating->addBranch();
  co_await made;
  co_return kj::mv(container);
}

Task<void> SimRuntime::runCreate(kj::Own<Container> container) {
  co_await env.timer().afterDelay(createDelay + container->script.createDelay);
  if (!container->script.failCreate.empty()) {
    containers.erase(container->id);
    fail(kj::str("cannot create container '", container->id.c_str(),
                 "': ", container->script.failCreate.c_str()));
  }
  if (container->stage == Stage::CREATING) container->stage = Stage::CREATED;
}

Task<kj::Own<Container>> SimRuntime::start(kj::String id) {
  auto& entry = find(id);
  auto container = kj::addRef(*entry.container);
  if (entry.starting == nullptr) entry.starting = keepGoing(runStart(kj::addRef(*container)));
  kj::Promise<void> started = kj::READY_NOW;
  KJ_IF_MAYBE (starting, entry.starting) started = starting->addBranch();
  co_await started;
  co_return kj::mv(container);
}

Task<void> SimRuntime::runStart(kj::Own<Container> container) {
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, find(container->id.c_str()).creating) made = creating->addBranch();
  co_await made;
  co_await env.timer().afterDelay(startDelay + container->script.startDelay);
  auto& script = container->script;
  if (!script.failStart.empty()) {
    fail(kj::str("cannot start container '", container->id.c_str(),
                 "': ", script.failStart.c_str()));
  }
  if (container->stage == Stage::EXITED) {
    fail(kj::str("container '", container->id.c_str(), "' ended before it was started"));
  }
  container->stage = Stage::RUNNING;
  container->startedAtNs = env.nowNs();
  for (auto& line : script.output) container->lines.push_back({env.nowNs(), false, line});
  for (auto& line : script.errors) container->lines.push_back({env.nowNs(), true, line});
  container->setStarted();
  KJ_IF_MAYBE (after, script.run) {
    tasks.add(endLater(kj::addRef(*container), *after).promise());
  }
}

Task<void> SimRuntime::endLater(kj::Own<Container> container, kj::Duration after) {
  auto delay = env.timer().afterDelay(after);
  auto first = delay.exclusiveJoin(container->whenExited());
  co_await first;
  container->exit(container->script.exitCode, env.nowNs());
}

Task<kj::Own<Container>> SimRuntime::wait(kj::String id) {
  auto container = kj::addRef(*find(id).container);
  co_await container->whenExited();
  co_return kj::mv(container);
}

Task<kj::Own<Container>> SimRuntime::stop(kj::String id, kj::String signal, uint64_t graceMs) {
  auto container = kj::addRef(*find(id).container);
  int number = signal.size() > 0 ? signalNumber(signal) : container->stopSignal;
  deliver(*container, container->stage == Stage::RUNNING ? number : SIGKILL);
  auto grace = env.timer().afterDelay(graceMs * kj::MILLISECONDS);
  auto first = container->whenExited().exclusiveJoin(kj::mv(grace));
  co_await first;
  deliver(*container, SIGKILL);
  co_return kj::mv(container);
}

void SimRuntime::remove(kj::StringPtr id) {
  auto found = containers.find(id.cStr());
  if (found == containers.end()) return;
  deliver(*found->second.container, SIGKILL);
  containers.erase(found);
}

Task<void> SimRuntime::logs(kj::String id, schema::LogOptions::Reader options,
                            schema::LogSink::Client sink, kj::StringPtr nodeId) {
  auto container = kj::addRef(*find(id).container);
  bool follow = options.getFollow();
  int64_t tail = options.getTail();
  int64_t sinceNs = options.getSinceNs();
  if (follow) co_await container->whenStarted();  // all lines appear with the start
  auto& all = container->lines;
  size_t begin = tail < 0 || static_cast<size_t>(tail) > all.size() ? 0 : all.size() - tail;
  auto request = sink.linesRequest();
  kj::Vector<const Line*> chosen;
  for (size_t i = begin; i < all.size(); ++i) {
    if (all[i].timeNs >= sinceNs) chosen.add(&all[i]);
  }
  auto lines = request.initLines(chosen.size());
  for (uint32_t i = 0; i < lines.size(); ++i) {
    auto& line = *chosen[i];
    lines[i].setTimeNs(line.timeNs);
    lines[i].setStream(line.isError ? schema::LogLine::Stream::STDERR
                                    : schema::LogLine::Stream::STDOUT);
    lines[i].setText(kj::StringPtr(line.text.c_str()).asBytes());
    lines[i].setTaskId(container->id.c_str());
    lines[i].setTaskName(container->taskName.c_str());
    lines[i].setNodeId(nodeId);
  }
  auto sent = request.send().ignoreResult();
  co_await sent;
  if (follow) co_await container->whenExited();
}

std::vector<kj::Own<Container>> SimRuntime::list() {
  std::vector<kj::Own<Container>> result;
  for (auto& entry : containers) {
    if (entry.second.container->stage != Stage::CREATING) {
      result.push_back(kj::addRef(*entry.second.container));
    }
  }
  return result;
}

kj::Own<Container> SimRuntime::runningOne(kj::StringPtr id) {
  auto container = kj::addRef(*find(id).container);
  if (container->stage != Stage::RUNNING) fail(kj::str("container '", id, "' does not run"));
  return container;
}

void SimRuntime::usage(capnp::List<capnp::Text>::Reader ids,
                       schema::Runtime::UsageResults::Builder results) {
  std::map<std::string, Container*> running;
  for (auto id : ids) {
    auto found = containers.find(id.cStr());
    if (found == containers.end()) continue;
    auto& container = *found->second.container;
    if (container.stage == Stage::RUNNING) running[container.id] = &container;
  }
  auto list = results.initUsages(running.size());
  uint32_t next = 0;
  for (auto& [id, container] : running) {
    auto out = list[next++];
    out.setId(id.c_str());
    out.setAtNs((env.timer().now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS);
    auto ranMs = (env.nowNs() - container->startedAtNs) / 1'000'000;
    out.setCpuNs(ranMs * static_cast<int64_t>(container->script.cpuNanos) / 1000);
    out.setMemoryBytes(container->script.memoryBytes);
    auto limit = container->memoryLimitBytes;
    out.setMemoryLimitBytes(limit > 0 ? limit : static_cast<int64_t>(env.hardware().memoryBytes));
    out.setPids(1);
  }
}

Task<RunResult> SimRuntime::run(kj::String id, std::vector<std::string> command,
                                kj::Duration limit) {
  auto container = runningOne(id);
  KJ_REQUIRE(!command.empty(), "no command");
  RunResult result;
  if (command[0] == "missing") fail(kj::str("cannot run 'missing': no such program"));
  if (command[0] == "stay") {
    auto first = container->whenExited().exclusiveJoin(env.timer().afterDelay(limit));
    co_await first;
    if (container->stage == Stage::EXITED) fail(kj::str("container '", id, "' has ended"));
    result.exitCode = 128 + SIGKILL;
    result.timedOut = true;
  } else if (command[0] == "exit" && command.size() > 1) {
    result.exitCode = atoi(command[1].c_str());
    if (command.size() > 2) result.output = command[2];
  } else {
    auto& checks = container->script.checks;
    result.exitCode = checks[std::min(container->checked++, checks.size() - 1)];
    if (result.exitCode != 0) result.output = "simulated failure";
  }
  co_return kj::mv(result);
}

}  // namespace orch::runtime::sim
