// One task from its acceptance to its end: image, network, container, and what became of it. The
// state only grows; a task is started at most once, whatever crashes in between.
#pragma once

#include <kj/async.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "health-state.h"
#include "services.h"
#include "task-record.h"
#include "task-store.h"

namespace orch::control::agent {

// Who hears of a task's progress.
class TaskObserver {
 public:
  virtual ~TaskObserver() noexcept(false) {}
  virtual void statusChanged(TaskRecord& record) = 0;
};

// Owned by the agent. Dropping it stops nothing: the container runs on, for the next agent to
// adopt.
class TaskController final {
 public:
  TaskController(NodeServices& services, TaskStore& store, TaskObserver& observer,
                 kj::Own<TaskRecord> record);
  KJ_DISALLOW_COPY(TaskController);

  TaskRecord& record() { return *task; }
  // Starts it, or goes on with it where the last agent left off.
  void begin();
  // The word of a manager, with the login for the image's registry if there is one. That is in
  // memory alone, and only until the image is there.
  void equip(schema::RegistryLogin::Reader given);
  // No manager is there whose word could be waited for.
  void goWithout() { equipped.raise(); }
  // What is wanted of it now. Wishes only grow.
  void wish(schema::TaskState desired);
  // Ends it if it runs, then takes away whatever the node has of it. Settles when nothing is left.
  Task<void> remove();

  // Until it ends, networks and ports keep what they have of it; from then on nobody waits for a
  // plugin that lets go late.
  bool holdsNetworks() { return !over && !isTerminal(task->state()); }

  // Connections may be led to it.
  bool serves() const { return serving; }

  // What the node's plugins have of tasks, by plugin: networks and tasks. Those that did not answer
  // are not in it.
  using Holders = std::map<std::string, std::set<std::pair<std::string, std::string>>>;
  struct Lack {
    std::string plugin;
    std::string network;
  };
  // What they should have of this one while it runs, and have not; of one network, or of all.
  std::vector<Lack> lacksOf(const Holders& holders, const std::string& only, uint32_t& things);
  // Has them have it again. Fails for a task that its node's network does not know: its namespace
  // cannot be made anew under a container.
  kj::Promise<void> reconnect(std::vector<Lack> lacks);

 private:
  using Attached = capnp::Response<schema::NetworkDriver::AttachResults>;
  using Ensured = capnp::Response<schema::ImageStore::EnsureResults>;
  enum class Found { NOTHING, EXITED, LIVES };
  using Checked = capnp::Response<schema::Runtime::RunResults>;
  // Why the wait for the container's end is over.
  enum class Ending { STOP_ASKED, EXITED, UNSEEN, HEALTHY, UNHEALTHY };

  void askToRun();
  kj::Promise<void> whenAskedToRun();
  kj::Promise<void> watch();
  // Up to RUNNING, or to the first check of its health. False if the task has come to its end
  // instead.
  Task<bool> reachRunning();
  Task<bool> bringUp();
  Task<bool> prepare();
  Task<kj::Maybe<Attached>> attachNetwork();
  Task<void> replug();
  Task<void> reconnectNow(std::vector<Lack> lacks);
  Task<void> plugLegs(schema::Endpoint::Reader endpoint);
  Task<void> serveNames(kj::StringPtr path);
  Task<void> unplugLegs();
  bool publishes() { return task->task().asReader().getPorts().size() > 0; }
  Task<void> publishPorts(schema::Endpoint::Reader endpoint);
  Task<void> leadPorts();
  Task<void> leadPortsElsewhere();
  Task<void> withdrawPorts();
  void noteUnplugged(kj::StringPtr reason);
  Task<kj::Maybe<Ensured>> ensureImage();
  Task<kj::Maybe<Ensured>> askForImage();
  Task<void> createContainer(kj::Maybe<Ensured> ensured, kj::Maybe<Attached> attached);
  Task<bool> startWhenAsked();
  Task<void> startContainer();
  // One whose health is checked is not RUNNING before it is healthy.
  Task<void> activateIfHealthy();
  Task<void> activate();
  // From the answer on nobody is led to it by what others were told of it, if they have answered.
  Task<void> retire();

  // task-health.cpp
  bool isChecked();
  void settleHealth(kj::Maybe<schema::ImageInfo::Reader> image);
  void beginHealth(int64_t startedAtNs);
  bool isHealthy();  // or not checked
  uint64_t sinceStartMs();
  kj::Duration pauseBeforeCheck();
  Task<void> keepChecking();
  kj::Promise<Checked> runCheck();
  kj::String troubleOf(schema::Runtime::RunResults::Reader checked);
  void noteCheck(kj::StringPtr trouble, kj::StringPtr output, HealthState::Change change);
  kj::String whyUnhealthy();
  Task<void> endUnhealthy();

  // Goes on with what an earlier agent, or the runtime's last life, has started.
  Task<bool> adopt();
  Task<Found> findContainer();

  kj::Promise<void> whenOver();
  // After `whenOver`: whether the container still runs and has to be waited for again.
  Task<bool> settle();
  Task<void> finishByExit();
  Task<void> shutDown();
  Task<void> drain();
  Task<void> breakOff(kj::Exception error);
  Task<void> endContainer();
  Task<void> finish(schema::TaskState state, kj::StringPtr message, kj::String error);

  schema::ContainerStatus::Builder containerStatus();
  void noteExit(schema::ExitStatus::Reader exit);
  void noteEndpoint(schema::Endpoint::Reader endpoint);
  void noteTrouble(kj::StringPtr trouble, kj::StringPtr id = "task.out-of-reach");
  void enter(schema::TaskState state, kj::StringPtr message);
  bool stopping() { return task->task().getDesired() >= schema::TaskState::COMPLETE; }
  kj::StringPtr networkName();
  void checkNetworks();
  bool bridged();
  schema::Runtime::Client runtime();
  kj::Promise<bool> orStopped(kj::Promise<void> step);

  NodeServices& services;
  TaskStore& store;
  TaskObserver& observer;
  kj::Own<TaskRecord> task;
  kj::Maybe<kj::Own<capnp::MallocMessageBuilder>> login;
  bool active = false;  // its ports lead to it
  bool serving = false;
  bool over = false;  // it gives back what it has of networks, or has done so
  Ending ending = Ending::STOP_ASKED;
  kj::Maybe<HealthState> health;  // once a container that is checked has started
  kj::TimePoint startedAt = kj::origin<kj::TimePoint>();
  bool looked = false;   // at its health, by this agent
  bool failing = false;  // its last check
  kj::String lost;       // why its exit status is not known; empty if it is

  struct Signal {
    kj::PromiseFulfillerPair<void> pair = kj::newPromiseAndFulfiller<void>();
    kj::ForkedPromise<void> promise = pair.promise.fork();
    void raise() { pair.fulfiller->fulfill(); }
  };
  kj::Maybe<kj::Own<Signal>> runAsked = kj::heap<Signal>();  // until it has been waited for
  Signal stopAsked;
  Signal equipped;
  kj::Promise<void> legs = nullptr;  // being plugged in again
  kj::ForkedPromise<void> life;
  kj::Canceler mending;  // last: what it ends uses all of the above
};

}  // namespace orch::control::agent
