// One task from its acceptance to its end: image, network, container, and what became of it. The
// state only grows; a task is started at most once, whatever crashes in between.
#pragma once

#include <kj/async.h>

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
  // What the manager wants now. Wishes only grow.
  void update(schema::Task::Reader wanted);
  // Ends it if it runs, then takes away whatever the node has of it. Settles when nothing is left.
  Task<void> remove();

 private:
  Task<void> live();
  Task<void> guard(kj::Promise<void> steps);
  capnp::RemotePromise<schema::Runtime::StopResults> stopContainer();
  using Attached = capnp::Response<schema::NetworkDriver::AttachResults>;
  using Ensured = capnp::Response<schema::ImageStore::EnsureResults>;
  Task<bool> prepare();
  Task<kj::Maybe<Attached>> attachNetwork();
  Task<kj::Maybe<Ensured>> ensureImage();
  Task<bool> startWhenAsked();
  Task<void> watch();
  Task<void> adopt();
  Task<void> finish(schema::TaskState state, kj::StringPtr message, kj::String error);
  void noteExit(schema::ExitStatus::Reader exit);
  void noteEndpoint(schema::Endpoint::Reader endpoint);
  void enter(schema::TaskState state, kj::StringPtr message);
  bool stopping() { return task->task().getDesired() >= schema::TaskState::COMPLETE; }
  kj::StringPtr networkName();
  bool bridged();
  schema::Runtime::Client runtime();
  kj::Promise<bool> orStopped(kj::Promise<void> step);

  NodeServices& services;
  TaskStore& store;
  TaskObserver& observer;
  kj::Own<TaskRecord> task;
  bool active = false;  // its ports lead to it

  struct Signal {
    kj::PromiseFulfillerPair<void> pair = kj::newPromiseAndFulfiller<void>();
    kj::ForkedPromise<void> promise = pair.promise.fork();
    void raise() { pair.fulfiller->fulfill(); }
  };
  Signal runAsked;
  Signal stopAsked;
  kj::ForkedPromise<void> life;
};

}  // namespace orch::control::agent
