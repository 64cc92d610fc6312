#include "serve/worker-server.h"

#include "orch/fail.h"

namespace orch::control::manager {

namespace {

class WorkerServer final : public schema::ClusterControl::Server {
 public:
  WorkerServer(kj::Own<kj::Refcounted> owner, Host& host, Membership& members)
      : owner(kj::mv(owner)), host(host), members(members) {}

  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override {
    constexpr uint16_t INFO = 0, JOIN = 20, LEAVE = 21;
    bool own = methodId == INFO || methodId == JOIN || methodId == LEAVE;
    if (own) return schema::ClusterControl::Server::dispatchCall(interfaceId, methodId, context);
    fail(kj::str("this node, '", host.node().name,
                 "', is a worker of the cluster; ask a manager: ", members.managerList()));
  }
  kj::Promise<void> info(InfoContext context) override {
    return members.describeSelf(context.getResults().initInfo().initSelf());
  }
  kj::Promise<void> join(JoinContext context) override { return members.join(context); }
  kj::Promise<void> leave(LeaveContext) override { return members.leave(); }

 private:
  kj::Own<kj::Refcounted> owner;
  Host& host;
  Membership& members;
};

}  // namespace

schema::ClusterControl::Client newWorkerServer(kj::Own<kj::Refcounted> owner, Host& host,
                                               Membership& members) {
  return kj::heap<WorkerServer>(kj::mv(owner), host, members);
}

}  // namespace orch::control::manager
