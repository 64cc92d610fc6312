#include "task-controller.h"

#include <kj/debug.h>

#include "container-request.h"
#include "orch/fail.h"

namespace orch::control::agent {

using schema::TaskState;

namespace {

class NoProgress final : public schema::Progress::Server {
 public:
  kj::Promise<void> update(UpdateContext) override { return kj::READY_NOW; }
};

}  // namespace

TaskController::TaskController(NodeServices& services, TaskStore& store, TaskObserver& observer,
                               kj::Own<TaskRecord> record)
    : services(services),
      store(store),
      observer(observer),
      task(kj::mv(record)),
      life(kj::Promise<void>(kj::READY_NOW).fork()) {
  update(task->task().asReader());
}

void TaskController::update(schema::Task::Reader wanted) {
  auto desired = wanted.getDesired();
  if (desired > task->task().getDesired()) task->task().setDesired(desired);
  if (desired >= TaskState::RUNNING) runAsked.raise();
  if (desired >= TaskState::COMPLETE) stopAsked.raise();
}

void TaskController::begin() { life = guard(live().promise()).promise().fork(); }

// A step that fails ends the task: what it has started is stopped before the manager hears of it,
// so that no slot ever has two.
Task<void> TaskController::guard(kj::Promise<void> steps) {
  auto outcome = co_await attempt(kj::mv(steps));
  if (outcome.ok()) co_return;
  auto reason = kj::str(plainText(outcome.error()));
  services.host.log().error("task.failed", {{"task", task->name()}, {"reason", reason}});
  bool started = task->state() >= TaskState::STARTING;
  if (started) {
    auto stopped = co_await attempt(stopContainer());
    if (stopped.ok()) noteExit(stopped.value().getExit());
  }
  auto state = started ? TaskState::FAILED : TaskState::REJECTED;
  co_await finish(state, "failed", kj::mv(reason));
}

capnp::RemotePromise<schema::Runtime::StopResults> TaskController::stopContainer() {
  auto container = task->task().asReader().getSpec().getContainer();
  auto request = runtime().stopRequest();
  request.setId(task->id());
  request.setSignal(container.getStopSignal());
  request.setGraceMs(container.getStopGraceMs());
  return request.send();
}

Task<void> TaskController::live() {
  if (isTerminal(task->state())) co_return;
  if (task->state() >= TaskState::STARTING) {
    co_await adopt();
    co_return;
  }
  enter(TaskState::ACCEPTED, "accepted");
  bool prepared = co_await prepare();
  if (prepared) prepared = co_await startWhenAsked();
  if (!prepared) {
    co_await finish(TaskState::SHUTDOWN, "shutdown before it was started", kj::str());
    co_return;
  }
  co_await watch();
}

kj::Promise<bool> TaskController::orStopped(kj::Promise<void> step) {
  auto stopped = stopAsked.promise.addBranch().then([]() { return false; });
  return step.then([]() { return true; }).exclusiveJoin(kj::mv(stopped));
}

kj::StringPtr TaskController::networkName() {
  auto networks = task->task().asReader().getSpec().getNetworks();
  return networks.size() == 0 ? kj::StringPtr("bridge") : kj::StringPtr(networks[0]);
}

bool TaskController::bridged() { return networkName() != "host" && networkName() != "none"; }

schema::Runtime::Client TaskController::runtime() {
  return services.runtime(kj::str("runtime.", task->task().getSpec().getRuntime()));
}

// False if it was stopped meanwhile. A step that another plugin has begun is awaited, never
// dropped: undoing it would overtake it.
Task<bool> TaskController::prepare() {
  enter(TaskState::PREPARING, "preparing");
  // The choice is kept: a later agent must find the container where this one made it.
  auto chosen = co_await services.runtimeFor(task->task().getSpec().getRuntime());
  task->task().getSpec().setRuntime(chosen.slice(strlen("runtime.")));

  auto attaching = attachNetwork().promise().eagerlyEvaluate(nullptr);
  auto ensured = co_await attempt(ensureImage());
  auto attached = co_await attaching;
  if (!ensured.ok()) kj::throwFatalException(kj::mv(ensured.error()));
  if (stopping()) co_return false;

  capnp::MallocMessageBuilder none;
  schema::ImageInfo::Reader image = none.initRoot<schema::ImageInfo>().asReader();
  KJ_IF_MAYBE (present, ensured.value()) image = present->getImage();
  kj::Maybe<schema::Endpoint::Reader> endpoint;
  KJ_IF_MAYBE (present, attached) {
    endpoint = present->getEndpoint();
    noteEndpoint(present->getEndpoint());
  }
  auto request = runtime().createRequest();
  fillContainerRequest(*task, image, endpoint, request.initRequest());
  auto created = co_await request.send();
  auto container = created.getContainer();
  auto status = task->status().initContainer();
  status.setId(container.getId());
  status.setPid(container.getPid());
  co_return !stopping();
}

Task<kj::Maybe<TaskController::Attached>> TaskController::attachNetwork() {
  if (!bridged()) co_return nullptr;
  co_await services.mustRun(kj::str("network.", networkName()));
  co_await services.networkReady();
  auto attached = co_await insist(services.env, [this]() {
    auto request = services.network(networkName()).attachRequest();
    auto params = request.initRequest();
    auto reader = task->task().asReader();
    params.setTaskId(task->id());
    params.setServiceId(reader.getServiceId());
    params.setPorts(reader.getPorts());
    params.setHostname(reader.getSpec().getContainer().getHostname());
    return request.send();
  });
  co_return kj::mv(attached);
}

// Nothing if the runtime has no use for one, or if the task was stopped while a transfer was going
// on.
Task<kj::Maybe<TaskController::Ensured>> TaskController::ensureImage() {
  auto info = co_await insist(services.env, [this]() { return runtime().infoRequest().send(); });
  if (!info.getUsesImages()) co_return nullptr;
  co_await services.mustRun(services.settings.getImage());
  co_await services.imagesReady();
  auto ensure = insist(services.env, [this]() {
    auto request = services.images().ensureRequest();
    request.setReference(task->task().asReader().getSpec().getContainer().getImage());
    request.setHolder(task->id());
    request.setProgress(kj::heap<NoProgress>());
    return request.send();
  });
  auto found = kj::mv(ensure).promise().then(
      [](Ensured&& image) { return kj::Maybe<Ensured>(kj::mv(image)); });
  auto stopped = stopAsked.promise.addBranch().then([]() { return kj::Maybe<Ensured>(); });
  co_return co_await found.exclusiveJoin(kj::mv(stopped));
}

void TaskController::noteEndpoint(schema::Endpoint::Reader endpoint) {
  task->status().initAddresses(1).set(0, endpoint.getAddress());
  kj::Vector<schema::PortSpec::Reader> hostPorts;
  for (auto port : endpoint.getPorts()) {
    if (port.getMode() == schema::PortSpec::PublishMode::HOST) hostPorts.add(port);
  }
  auto list = task->status().initHostPorts(hostPorts.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.setWithCaveats(i, hostPorts[i]);
}

// Waits at READY until it is asked for, then starts. False if it was stopped before.
Task<bool> TaskController::startWhenAsked() {
  if (task->task().getDesired() < TaskState::RUNNING) enter(TaskState::READY, "prepared");
  bool asked = co_await orStopped(runAsked.promise.addBranch());
  if (!asked) co_return false;
  // Durable before the user's program can run: after a crash it is adopted or lost, never run
  // again.
  task->advance(TaskState::STARTING, services.env.nowNs(), "starting");
  co_await store.save(*task);
  observer.statusChanged(*task);
  auto request = runtime().startRequest();
  request.setId(task->id());
  auto started = co_await request.send();
  task->status().getContainer().setPid(started.getContainer().getPid());
  co_return true;
}

// From the start to the end of the container.
Task<void> TaskController::watch() {
  if (bridged() && task->task().getDesired() < TaskState::COMPLETE) {
    co_await insist(services.env, [this]() {
      auto request = services.network(networkName()).activateRequest();
      request.setTaskId(task->id());
      return request.send();
    });
    active = true;
  }
  enter(TaskState::RUNNING, "started");

  auto wait = runtime().waitRequest();
  wait.setId(task->id());
  auto ended = wait.send().then([this](capnp::Response<schema::Runtime::WaitResults>&& response) {
    noteExit(response.getExit());
  });
  bool byItself = co_await orStopped(kj::mv(ended));
  if (!byItself) {
    if (active) {
      auto deactivate = services.network(networkName()).deactivateRequest();
      deactivate.setTaskId(task->id());
      co_await deactivate.send().ignoreResult();
      active = false;
    }
    auto stopped = co_await stopContainer();
    noteExit(stopped.getExit());
    co_await finish(TaskState::SHUTDOWN, "shutdown", kj::str());
    co_return;
  }
  int code = task->status().getContainer().getExitCode();
  if (code == 0) {
    co_await finish(TaskState::COMPLETE, "finished", kj::str());
  } else if (task->status().getContainer().getOomKilled()) {
    co_await finish(TaskState::FAILED, "started", kj::str("task: out of memory (exit ", code, ")"));
  } else {
    co_await finish(TaskState::FAILED, "started", kj::str("task: non-zero exit (", code, ")"));
  }
}

// After a restart: the container is where it was, has ended meanwhile, or is lost.
Task<void> TaskController::adopt() {
  auto listed = co_await insist(services.env, [this]() { return runtime().listRequest().send(); });
  for (auto container : listed.getContainers()) {
    if (container.getId() != task->id()) continue;
    if (container.getState() == schema::Container::State::CREATED) {
      auto request = runtime().startRequest();
      request.setId(task->id());
      auto started = co_await request.send();
      task->status().getContainer().setPid(started.getContainer().getPid());
    }
    co_await watch();
    co_return;
  }
  auto state =
      task->task().getDesired() >= TaskState::COMPLETE ? TaskState::SHUTDOWN : TaskState::FAILED;
  co_await finish(state, "lost",
                  kj::str("task: its container was lost, as by a restart of the node"));
}

void TaskController::noteExit(schema::ExitStatus::Reader exit) {
  auto container = task->status().hasContainer() ? task->status().getContainer()
                                                 : task->status().initContainer();
  container.setExitCode(exit.getCode());
  container.setOomKilled(exit.getOomKilled());
}

// The address goes back at once; the container stays, with its log, until the manager forgets the
// task.
Task<void> TaskController::finish(TaskState state, kj::StringPtr message, kj::String error) {
  if (bridged()) {
    auto running = co_await services.running(kj::str("network.", networkName()));
    if (running.size() > 0) {
      auto detach = services.network(networkName()).detachRequest();
      detach.setTaskId(task->id());
      auto detached = co_await attempt(detach.send());
      if (!detached.ok()) {
        services.host.log().warn("network.detach-failed",
                                 {{"task", task->name()}, {"reason", detached.message()}});
      }
    }
  }
  active = false;
  task->status().setError(error);
  enter(state, message);
}

void TaskController::enter(TaskState state, kj::StringPtr message) {
  if (!task->advance(state, services.env.nowNs(), message)) return;
  store.save(*task).detach(
      [&log = services.host.log(), name = task->name()](kj::Exception&& exception) {
        // A full disk, say. What is not durable was not started yet, or is found again in the
        // runtime.
        log.error("agent.save-failed", {{"task", name}, {"reason", plainText(exception)}});
      });
  observer.statusChanged(*task);
}

Task<void> TaskController::remove() {
  if (task->task().getDesired() < TaskState::REMOVE) task->task().setDesired(TaskState::REMOVE);
  runAsked.raise();
  stopAsked.raise();
  co_await life.addBranch();
  if (task->task().getSpec().getRuntime().size() > 0) {
    co_await insist(services.env, [this]() {
      auto request = runtime().removeRequest();
      request.setId(task->id());
      return request.send();
    });
  }
  auto images = co_await services.running(services.settings.getImage());
  if (images.size() > 0) {
    co_await insist(services.env, [this]() {
      auto request = services.images().releaseRequest();
      request.setHolder(task->id());
      return request.send();
    });
  }
  co_await store.erase(task->id());
}

}  // namespace orch::control::agent
