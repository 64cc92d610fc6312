#include "serve/worker-server.h"

#include "orch/fail.h"
#include "serve/cluster-methods.h"
#include "serve/worker-tasks.h"

namespace orch::control::manager {

namespace {

class WorkerServer final : public schema::ClusterControl::Server {
 public:
  WorkerServer(kj::Own<kj::Refcounted> owner, WorkerParts parts)
      : owner(kj::mv(owner)), members(parts.members), here(kj::mv(parts)) {}

  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override {
    if (!own.has(methodId)) fail(here.onlyManagersKnow());
    return schema::ClusterControl::Server::dispatchCall(interfaceId, methodId, context);
  }
  kj::Promise<void> info(InfoContext context) override {
    return members.describeSelf(context.getResults().initInfo().initSelf());
  }
  kj::Promise<void> join(JoinContext context) override { return members.join(context); }
  kj::Promise<void> leave(LeaveContext) override { return members.leave(); }
  kj::Promise<void> node(NodeContext context) override {
    here.describeNode(context);
    return kj::READY_NOW;
  }
  kj::Promise<void> tasks(TasksContext context) override { return here.list(context); }
  kj::Promise<void> task(TaskContext context) override { return here.inspect(context); }
  kj::Promise<void> logs(LogsContext context) override {
    context.allowCancellation();
    return here.logs(context);
  }
  kj::Promise<void> exec(ExecContext context) override {
    context.allowCancellation();
    return here.exec(context);
  }
  kj::Promise<void> attach(AttachContext context) override {
    context.allowCancellation();
    return here.attach(context);
  }
  kj::Promise<void> processes(ProcessesContext context) override {
    context.allowCancellation();
    return here.processes(context);
  }
  kj::Promise<void> usage(UsageContext context) override {
    context.allowCancellation();
    return here.usage(context);
  }

 private:
  const ClusterMethods own{"info", "join", "leave",  "node",      "tasks", "task",
                           "logs", "exec", "attach", "processes", "usage"};
  kj::Own<kj::Refcounted> owner;
  Membership& members;
  WorkerTasks here;
};

// A worker that could watch would know of all services, and could hold up every end of a task.
class WorkerFeed final : public capnp::Capability::Server {
 public:
  WorkerFeed(kj::Own<kj::Refcounted> owner, WorkerParts parts)
      : owner(kj::mv(owner)), here(kj::mv(parts)) {}
  DispatchCallResult dispatchCall(
      uint64_t, uint16_t, capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    fail(here.onlyManagersKnow());
  }

 private:
  kj::Own<kj::Refcounted> owner;
  WorkerTasks here;
};

}  // namespace

capnp::Capability::Client newWorkerFeed(kj::Own<kj::Refcounted> owner, WorkerParts parts) {
  return kj::heap<WorkerFeed>(kj::mv(owner), kj::mv(parts));
}

schema::ClusterControl::Client newWorkerServer(kj::Own<kj::Refcounted> owner, WorkerParts parts) {
  return kj::heap<WorkerServer>(kj::mv(owner), kj::mv(parts));
}

}  // namespace orch::control::manager
