#include "task-controller.h"

#include <kj/debug.h>

#include "container-request.h"
#include "orch/fail.h"

namespace orch::control::agent {

using schema::TaskState;

namespace {

// Hears what the runtime waits for while it makes a container, until `end`.
class WaitingListener final : public schema::Waiting::Server {
 public:
  explicit WaitingListener(kj::Function<void(kj::StringPtr)> told) : told(kj::mv(told)) {}
  void end() { told = nullptr; }
  kj::Promise<void> because(BecauseContext context) override {
    KJ_IF_MAYBE (tell, told) (*tell)(context.getParams().getReason());
    return kj::READY_NOW;
  }

 private:
  kj::Maybe<kj::Function<void(kj::StringPtr)>> told;
};

}  // namespace

TaskController::TaskController(NodeServices& services, TaskStore& store, TaskObserver& observer,
                               kj::Own<TaskRecord> record)
    : services(services),
      store(store),
      observer(observer),
      task(kj::mv(record)),
      life(kj::Promise<void>(kj::READY_NOW).fork()) {
  wish(task->task().getDesired());
  // One that is to be taken over is as it was until it turns out to be otherwise.
  serving = task->state() == TaskState::RUNNING && !stopping();
}

void TaskController::wish(TaskState desired) {
  if (desired > task->task().getDesired()) task->task().setDesired(desired);
  if (desired >= TaskState::RUNNING) askToRun();
  if (desired >= TaskState::COMPLETE) stopAsked.raise();
}

void TaskController::askToRun() {
  KJ_IF_MAYBE (signal, runAsked) signal->get()->raise();
}

kj::Promise<void> TaskController::whenAskedToRun() {
  KJ_IF_MAYBE (signal, runAsked) return signal->get()->promise.addBranch();
  return kj::READY_NOW;
}

void TaskController::begin() {
  if (isTerminal(task->state())) return;
  if (task->state() >= TaskState::STARTING) services.resources.keep(task->task());
  if (task->isLocal()) services.resources.keepSlot(task->task());
  life = reachRunning()
             .promise()
             .then([this](bool runs) -> kj::Promise<void> {
               if (runs) return watch();
               return kj::READY_NOW;
             })
             .fork();
}

// No coroutine: a node has hundreds of these waits for as long as its tasks run, and a coroutine's
// frame takes four times as much.
kj::Promise<void> TaskController::watch() {
  return whenOver()
      .then([this]() { return settle().promise(); })
      .then([this](bool runs) -> kj::Promise<void> {
        if (runs) return watch();
        return kj::READY_NOW;
      });
}

Task<bool> TaskController::reachRunning() {
  kj::Promise<bool> steps = nullptr;
  if (task->state() >= TaskState::STARTING) {
    steps = adopt();
  } else {
    steps = bringUp();
  }
  auto outcome = co_await attempt(kj::mv(steps));
  if (outcome.ok()) co_return outcome.value();
  co_await breakOff(kj::mv(outcome.error()));
  co_return false;
}

Task<bool> TaskController::bringUp() {
  enter(TaskState::ACCEPTED, "accepted");
  bool up = co_await prepare();
  if (up) up = co_await startWhenAsked();
  if (!up) {
    co_await finish(TaskState::SHUTDOWN, "shutdown before it was started", kj::str());
    co_return false;
  }
  co_await activateIfHealthy();
  co_return true;
}

kj::Promise<bool> TaskController::orStopped(kj::Promise<void> step) {
  auto stopped = stopAsked.promise.addBranch().then([]() { return false; });
  return step.then([]() { return true; }).exclusiveJoin(kj::mv(stopped));
}

// The one of the node: beside networks that span hosts it is the way out.
kj::StringPtr TaskController::networkName() {
  if (task->task().asReader().getLegs().size() > 0) return "bridge";
  auto networks = task->task().asReader().getSpec().getNetworks();
  return networks.size() == 0 ? kj::StringPtr("bridge") : kj::StringPtr(networks[0].getName());
}

void TaskController::checkNetworks() {
  auto networks = task->task().asReader().getSpec().getNetworks();
  if (networks.size() <= 1 || task->task().asReader().getLegs().size() > 0) return;
  auto names = KJ_MAP(network, networks) { return network.getName(); };
  fail(kj::str("cannot run it on the networks '", kj::strArray(names, "', '"),
               "': a task has one network so far; name one of them"));
}

bool TaskController::bridged() { return networkName() != "host" && networkName() != "none"; }

schema::Runtime::Client TaskController::runtime() {
  return services.runtime(kj::str("runtime.", task->task().getSpec().getRuntime()));
}

// False if it was stopped meanwhile. A step that another plugin has begun is awaited, never
// dropped: undoing it would overtake it.
Task<bool> TaskController::prepare() {
  enter(TaskState::PREPARING, "preparing");
  checkNetworks();
  // The choice is kept: a later agent must find the container where this one made it.
  auto chosen = co_await services.runtimeFor(task->task().getSpec().getRuntime());
  task->task().getSpec().setRuntime(chosen.slice(strlen("runtime.")));

  auto attaching = attachNetwork().promise().eagerlyEvaluate(nullptr);
  auto ensured = co_await attempt(ensureImage());
  auto attached = co_await attaching;
  KJ_IF_MAYBE (there, attached) co_await plugLegs(there->getEndpoint());
  if (!ensured.ok()) kj::throwFatalException(kj::mv(ensured.error()));
  if (stopping()) co_return false;
  auto creating = createContainer(kj::mv(ensured.value()), kj::mv(attached)).promise().fork();
  bool created = co_await orStopped(creating.addBranch());
  if (created) co_return !stopping();
  // It may wait for what never comes: the runtime breaks that off.
  auto stop = runtime().stopRequest(SMALL);
  stop.setId(task->id());
  co_await attempt(stop.send());
  co_await attempt(creating.addBranch());
  co_return false;
}

Task<void> TaskController::createContainer(kj::Maybe<Ensured> ensured,
                                           kj::Maybe<Attached> attached) {
  auto service = kj::str("runtime.", task->task().getSpec().getRuntime());
  co_await services.cleared(service);
  auto pass = co_await services.making.enter();
  if (stopping()) co_return;
  kj::Maybe<schema::ImageInfo::Reader> image;
  KJ_IF_MAYBE (present, ensured) image = present->getImage();
  settleHealth(image);
  kj::Maybe<schema::Endpoint::Reader> endpoint;
  KJ_IF_MAYBE (present, attached) {
    endpoint = present->getEndpoint();
    noteEndpoint(present->getEndpoint());
  }
  // What waits for a file system that hangs takes nobody's place.
  auto heard = kj::heap<WaitingListener>([this, &pass](kj::StringPtr reason) {
    if (reason.size() > 0) pass.release();
    noteTrouble(reason, "task.waiting");
  });
  auto& listener = *heard;
  schema::Waiting::Client waiting = kj::mv(heard);
  KJ_DEFER(listener.end());
  auto created = co_await insist(services.env, [&]() {
    auto request = runtime().createRequest(sizeOfContainerRequest(*task, image));
    NodeIdentity node{services.host.node().name, services.architecture};
    fillContainerRequest(*task, node, image, endpoint, request.initRequest());
    request.setWaiting(waiting);
    return request.send();
  });
  noteTrouble("");
  auto container = created.getContainer();
  auto status = task->status().initContainer();
  status.setId(container.getId());
  status.setPid(container.getPid());
}

Task<kj::Maybe<TaskController::Attached>> TaskController::attachNetwork() {
  if (!bridged()) co_return nullptr;
  auto service = kj::str("network.", networkName());
  co_await services.mustRun(service);
  co_await services.cleared(service);
  auto pass = co_await services.making.enter();
  auto attached = co_await insist(services.env, [this]() {
    auto request = services.network(networkName()).attachRequest(SMALL);
    request.setTaskId(task->id());
    return request.send();
  });
  co_await publishPorts(attached.getEndpoint());
  co_return kj::mv(attached);
}

void TaskController::noteEndpoint(schema::Endpoint::Reader endpoint) {
  task->status().initAddresses(1).set(0, endpoint.getAddress());
}

// Waits at READY until it is asked for, then starts. False if it was stopped before.
Task<bool> TaskController::startWhenAsked() {
  if (task->task().getDesired() < TaskState::RUNNING) enter(TaskState::READY, "prepared");
  bool asked = co_await orStopped(whenAskedToRun());
  runAsked = nullptr;
  if (!asked || stopping()) co_return false;  // who is asked to end is asked to run as well
  while (!services.resources.take(task->task())) {
    noteTrouble(
        "its slot, or what it has of the node's resources, another task has until it has ended",
        "task.waiting");
    bool changed = co_await orStopped(services.resources.whenChanged());
    if (!changed) co_return false;
  }
  noteTrouble("");
  // Durable before the user's program can run: after a crash it is adopted or lost, never run
  // again.
  task->advance(TaskState::STARTING, services.env.nowNs(), "starting");
  co_await store.save(*task);
  observer.statusChanged(*task);
  services.env.failPoint("control.agent", "start-begins");
  co_await startContainer();
  services.env.failPoint("control.agent", "start-done");
  co_return true;
}

// Asked twice, the runtime answers as the first time.
Task<void> TaskController::startContainer() {
  auto started = co_await insist(services.env, [this]() {
    auto request = runtime().startRequest(SMALL);
    request.setId(task->id());
    return request.send();
  });
  containerStatus().setPid(started.getContainer().getPid());
  beginHealth(started.getContainer().getStartedAtNs());
}

Task<void> TaskController::activateIfHealthy() {
  if (isHealthy()) co_await activate();
}

Task<void> TaskController::activate() {
  if (bridged() && !stopping()) co_await leadPorts();
  serving = !stopping();
  enter(TaskState::RUNNING, "started");
  services.feed.changed(task->id());  // one that was taken over was running before
}

// The container is where it was, has ended meanwhile, or is lost. While the runtime does not answer
// nothing is known, and nothing is said.
Task<bool> TaskController::adopt() {
  for (uint64_t pauseMs = FIRST_PAUSE_MS;; pauseMs = kj::min(2 * pauseMs, MAX_PAUSE_MS)) {
    auto started = co_await attempt(startContainer());
    if (started.ok()) break;
    if (isPassing(started.error())) {
      noteTrouble(started.message());
      co_await services.env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
      continue;
    }
    auto found = co_await findContainer();
    // It ended before anybody could write down that it had started.
    if (found == Found::EXITED) co_return true;
    if (found == Found::LIVES) kj::throwFatalException(kj::mv(started.error()));
    auto state = stopping() ? TaskState::SHUTDOWN : TaskState::FAILED;
    containerStatus().setLost(true);
    co_await finish(state, "lost",
                    kj::str("task: its container was lost, as by a restart of the node"));
    co_return false;
  }
  noteTrouble("");
  // Whose process may have started anew. It runs meanwhile, and without a manager as well.
  legs = replug().promise().eagerlyEvaluate([this](kj::Exception&& e) {
    services.host.log().warn("network.plug-failed",
                             {{"task", task->name()}, {"reason", plainText(e)}});
  });
  co_await activateIfHealthy();
  co_return true;
}

Task<TaskController::Found> TaskController::findContainer() {
  auto listed =
      co_await insist(services.env, [this]() { return runtime().listRequest(SMALL).send(); });
  for (auto container : listed.getContainers()) {
    if (container.getId() != task->id()) continue;
    if (container.getState() == schema::Container::State::EXITED) co_return Found::EXITED;
    co_return Found::LIVES;
  }
  co_return Found::NOTHING;
}

// ---- the end ------------------------------------------------------------------------------------

kj::Promise<void> TaskController::whenOver() {
  ending = Ending::STOP_ASKED;
  auto request = runtime().waitRequest(SMALL);
  request.setId(task->id());
  auto ended = request.send().then(
      [this](capnp::Response<schema::Runtime::WaitResults>&& response) {
        noteExit(response.getExit());
        ending = Ending::EXITED;
      },
      [this](kj::Exception&&) { ending = Ending::UNSEEN; });
  auto over = ended.exclusiveJoin(stopAsked.promise.addBranch());
  return health == nullptr ? kj::mv(over) : over.exclusiveJoin(keepChecking().promise());
}

Task<bool> TaskController::settle() {
  switch (ending) {
    case Ending::EXITED:
      co_await finishByExit();
      co_return false;
    case Ending::STOP_ASKED:
      co_await shutDown();
      co_return false;
    case Ending::UNHEALTHY:
      co_await endUnhealthy();
      co_return false;
    case Ending::HEALTHY:
    case Ending::UNSEEN:
      break;
  }
  kj::Promise<bool> next = nullptr;
  if (ending == Ending::HEALTHY) {
    next = activate().promise().then([]() { return true; });
  } else {
    next = adopt();
  }
  auto adopted = co_await attempt(kj::mv(next));
  if (adopted.ok()) co_return adopted.value();
  co_await breakOff(kj::mv(adopted.error()));
  co_return false;
}

Task<void> TaskController::finishByExit() {
  auto container = task->status().getContainer();
  // It was being stopped, whatever it made of that.
  if (container.getHealth() == schema::Health::UNHEALTHY) {
    co_await finish(TaskState::FAILED, "unhealthy", whyUnhealthy());
    co_return;
  }
  int code = container.getExitCode();
  auto error = kj::str();
  if (container.getOomKilled() && code != 0) {
    error = kj::str("task: out of memory (exit ", code, ")");
  } else if (lost.size() > 0) {
    error = kj::str("task: ", lost);
  } else if (code > 0) {
    error = kj::str("task: non-zero exit (", code, ")");
  }
  auto state = code == 0 ? TaskState::COMPLETE : TaskState::FAILED;
  kj::StringPtr message = code == 0 ? "finished"_kj : "started"_kj;
  if (code == 0 && container.getOomKilled()) {
    // Not the program itself: that ended well.
    message = "finished; one of its processes was out of memory";
  }
  co_await finish(state, message, kj::mv(error));
}

Task<void> TaskController::shutDown() {
  co_await retire();
  co_await leadPortsElsewhere();
  co_await drain();
  co_await endContainer();
  co_await finish(TaskState::SHUTDOWN, "shutdown", kj::str());
}

// A step that fails ends the task: what it has started is stopped before the manager hears of it,
// so that no slot ever has two.
Task<void> TaskController::breakOff(kj::Exception error) {
  auto reason = kj::str(plainText(error));
  services.host.log().error("task.failed", {{"task", task->name()}, {"reason", reason}});
  bool started = task->state() >= TaskState::STARTING;
  co_await retire();
  if (started) co_await endContainer();
  auto state = started ? TaskState::FAILED : TaskState::REJECTED;
  co_await finish(state, "failed", kj::mv(reason));
}

// Settles when no container runs any more, however long the runtime takes to say so.
Task<void> TaskController::endContainer() {
  for (uint64_t pauseMs = FIRST_PAUSE_MS;; pauseMs = kj::min(2 * pauseMs, MAX_PAUSE_MS)) {
    auto spec = task->task().asReader().getSpec().getContainer();
    auto request = runtime().stopRequest(SMALL);
    request.setId(task->id());
    request.setSignal(spec.getStopSignal());
    request.setGraceMs(spec.getStopGraceMs());
    auto stopped = co_await attempt(request.send());
    if (stopped.ok()) {
      noteExit(stopped.value().getExit());
      co_return;
    }
    if (!isPassing(stopped.error())) {
      auto found = co_await attempt(findContainer());
      bool gone = found.ok() && found.value() == Found::NOTHING;
      if (gone) co_return;
    }
    noteTrouble(stopped.message());
    co_await services.env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
  }
}

schema::ContainerStatus::Builder TaskController::containerStatus() {
  auto status = task->status();
  return status.hasContainer() ? status.getContainer() : status.initContainer();
}

void TaskController::noteExit(schema::ExitStatus::Reader exit) {
  auto container = containerStatus();
  container.setExitCode(exit.getCode());
  container.setOomKilled(exit.getOomKilled());
  container.setLost(exit.getLost().size() > 0);
  lost = kj::str(exit.getLost());
}

// What keeps a task from being looked after; empty when that is over. For `orch service ps`.
void TaskController::noteTrouble(kj::StringPtr trouble, kj::StringPtr id) {
  if (task->status().getError() == trouble) return;
  if (trouble.size() > 0) {
    services.host.log().warn(id, {{"task", task->name()}, {"reason", trouble}});
  }
  task->status().setError(trouble);
  observer.statusChanged(*task);
}

// The address goes back at once; the container stays, with its log, until the manager forgets the
// task.
Task<void> TaskController::finish(TaskState state, kj::StringPtr message, kj::String error) {
  services.resources.giveBack(task->task());
  serving = false;
  services.feed.changed(task->id());
  over = true;  // a plugin that has not been seen running yet is told so when it comes
  bool attached = task->status().getAddresses().size() > 0 ||
                  services.hasRun(kj::str("network.", networkName()));
  if (bridged() && attached) co_await unplugLegs();
  if (bridged() && attached) co_await withdrawPorts();
  if (bridged() && attached) {
    auto call = insist(services.env, [this]() {
      auto request = services.network(networkName()).detachRequest(SMALL);
      request.setTaskId(task->id());
      return request.send();
    });
    auto detached = co_await attempt(kj::mv(call));
    if (!detached.ok()) {
      services.host.log().warn("network.detach-failed",
                               {{"task", task->name()}, {"reason", detached.message()}});
    }
  }
  active = false;
  task->status().setError(error);
  enter(state, message);
}

void TaskController::enter(TaskState state, kj::StringPtr message) {
  if (!task->advance(state, services.env.nowNs(), message)) return;
  store.saveSoon(*task);
  observer.statusChanged(*task);
}

Task<void> TaskController::remove() {
  if (task->task().getDesired() < TaskState::REMOVE) task->task().setDesired(TaskState::REMOVE);
  askToRun();
  stopAsked.raise();
  co_await life.addBranch();
  if (task->task().getSpec().getRuntime().size() > 0) {
    co_await insist(services.env, [this]() {
      auto request = runtime().removeRequest(SMALL);
      request.setId(task->id());
      return request.send();
    });
  }
  if (services.hasRun(services.settings.getImage())) {
    auto call = insist(services.env, [this]() {
      auto request = services.images().releaseRequest(SMALL);
      request.setHolder(task->id());
      return request.send();
    });
    auto released = co_await attempt(kj::mv(call));
    if (!released.ok()) {
      services.host.log().warn("image.release-failed",
                               {{"task", task->name()}, {"reason", released.message()}});
    }
  }
  co_await store.erase(task->id());
}

}  // namespace orch::control::agent
