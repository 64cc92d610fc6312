#include "lead/front.h"

#include <capnp/dynamic.h>
#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/hand-on.h"
#include "serve/cluster-methods.h"

namespace orch::control::manager {

namespace {

// Of a read: a manager that learns that another one leads knows that one soon.
constexpr int MAX_TRIES = 10;

// Until somebody leads; `past`: or what was known last is good enough.
kj::Promise<void> ready(Leadership& leadership, bool past) {
  return past ? leadership.readable() : leadership.settled();
}

// After it has settled.
schema::ManagerPeer::Client leaderOf(Leadership& leadership) {
  KJ_IF_MAYBE (leader, leadership.leader()) return *leader;
  fail(kj::str("no manager leads the cluster at the moment; tasks run on"));
}

Task<void> handOnToChoice(Task<capnp::Capability::Client> choice, uint64_t interfaceId,
                          uint16_t methodId, AnyCall call) {
  call.allowCancellation();
  auto target = co_await kj::mv(choice);
  co_await handOn(kj::mv(target), interfaceId, methodId, call);
}

class Forwarder final : public capnp::Capability::Server {
 public:
  Forwarder(kj::Own<kj::Refcounted> owner, Choose choose)
      : owner(kj::mv(owner)), choose(kj::mv(choose)) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    return {handOnToChoice(choose(), interfaceId, methodId, call), false};
  }

 private:
  kj::Own<kj::Refcounted> owner;
  Choose choose;
};

// Those that only say what is: the answer has to be of now. Those that change something find out
// with their commit whether this manager leads. What the state alone answers can also be asked when
// nobody leads.
const ClusterMethods& stateReads() {
  static const ClusterMethods methods{"services", "service",  "tasks",   "task",  "nodes",
                                      "node",     "networks", "network", "admins"};
  return methods;
}
bool isRead(uint16_t method) {
  static const ClusterMethods others{"info",      "why",       "plan",     "joinToken",
                                     "unlockKey", "authority", "progress", "nodeProgress"};
  return stateReads().has(method) || others.has(method);
}

// A change is refused by what is known here, too, and that has to be of now. Whoever asks again is
// answered by who leads.
Task<void> handOnChange(Leadership& leadership, schema::ClusterControl::Client local,
                        uint64_t interfaceId, uint16_t methodId, AnyCall call) {
  call.allowCancellation();
  auto done = co_await attempt(handOn(kj::mv(local), interfaceId, methodId, call));
  if (done.ok()) co_return;
  bool refused = done.error().getType() == kj::Exception::Type::FAILED;
  if (refused && leadership.leads()) co_await leadership.confirmed();
  kj::throwFatalException(kj::mv(done.error()));
}

Task<capnp::Capability::Client> onceConfirmed(Leadership& leadership,
                                              schema::ClusterControl::Client local) {
  co_await leadership.confirmed();
  co_return local;
}

// As a leader has it for all.
class LeaderCluster final : public capnp::Capability::Server {
 public:
  LeaderCluster(kj::Own<kj::Refcounted> owner, Leadership& leadership,
                schema::ClusterControl::Client local)
      : owner(kj::mv(owner)), leadership(leadership), local(kj::mv(local)) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    if (isRead(methodId)) return {handOn(local, interfaceId, methodId, call), false};
    return {handOnChange(leadership, local, interfaceId, methodId, call), false};
  }

 private:
  kj::Own<kj::Refcounted> owner;
  Leadership& leadership;
  schema::ClusterControl::Client local;
};

// As it is handed to other managers.
class ConfirmedCluster final : public capnp::Capability::Server {
 public:
  ConfirmedCluster(kj::Own<kj::Refcounted> owner, Leadership& leadership,
                   schema::ClusterControl::Client local)
      : owner(kj::mv(owner)), leadership(leadership), local(kj::mv(local)) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    if (!isRead(methodId)) return {handOn(local, interfaceId, methodId, call), false};
    auto choice = onceConfirmed(leadership, local);
    return {handOnToChoice(kj::mv(choice), interfaceId, methodId, call), false};
  }

 private:
  kj::Own<kj::Refcounted> owner;
  Leadership& leadership;
  schema::ClusterControl::Client local;
};

class ClusterFront final : public schema::ClusterControl::Server {
 public:
  ClusterFront(kj::Own<kj::Refcounted> owner, FrontParts parts,
               schema::ClusterControl::Client local)
      : owner(kj::mv(owner)),
        leadership(parts.leadership),
        members(parts.members),
        parts(parts),
        local(kj::mv(local)) {}

  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    if (initCall.has(methodId))
      return {handOnToChoice(forInit(), interfaceId, methodId, call), false};
    if (alwaysOwn.has(methodId) || (ownCalls.has(methodId) && !leadership.leads())) {
      return schema::ClusterControl::Server::dispatchCall(interfaceId, methodId, call);
    }
    if (stateReads().has(methodId)) return {read(interfaceId, methodId, call), false};
    auto target = isRead(methodId) ? toAsk() : cluster();
    return {handOnToChoice(kj::mv(target), interfaceId, methodId, call), false};
  }
  kj::Promise<void> info(InfoContext context) override { return doInfo(context); }
  kj::Promise<void> join(JoinContext context) override { return members.join(context); }
  kj::Promise<void> leave(LeaveContext context) override {
    if (members.isMember() && !context.getParams().getForce()) {
      fail(kj::str("this node is a manager of the cluster; with --force it leaves all the same"));
    }
    return members.leave();
  }
  kj::Promise<void> status(StatusContext context) override {
    context.allowCancellation();
    return parts.status.ask(context.getResults());
  }
  kj::Promise<void> age(AgeContext context) override {
    context.allowCancellation();
    return doAge(context);
  }
  kj::Promise<void> backup(BackupContext context) override {
    context.allowCancellation();
    return parts.backups.backup(context);
  }
  kj::Promise<void> restore(RestoreContext context) override {
    return parts.backups.restore(context);
  }
  kj::Promise<void> forceNew(ForceNewContext context) override { return doForceNew(context); }

 private:
  Task<capnp::Capability::Client> cluster() {
    if (!leadership.leads()) co_await leadership.settled();
    if (leadership.leads()) co_return local;
    auto leader = leaderOf(leadership);
    co_return leader.clusterRequest().send().getCluster();
  }
  // Who can say how things are. Without an answer if nobody can, and `past` is good enough.
  Task<kj::Maybe<capnp::Capability::Client>> whoKnows(bool past) {
    for (int tries = 1;; ++tries) {
      if (!leadership.leads()) co_await ready(leadership, past);
      if (past && leadership.isOld()) co_return nullptr;
      if (!leadership.leads()) {
        auto leader = leaderOf(leadership);
        co_return capnp::Capability::Client(leader.clusterRequest().send().getCluster());
      }
      auto confirmed = co_await attempt(leadership.confirmed());
      if (confirmed.ok()) co_return capnp::Capability::Client(local);
      if (tries == MAX_TRIES) kj::throwFatalException(kj::mv(confirmed.error()));
    }
  }
  Task<capnp::Capability::Client> toAsk() {
    auto target = co_await whoKnows(false);
    co_return KJ_ASSERT_NONNULL(kj::mv(target));
  }
  Task<void> read(uint64_t interfaceId, uint16_t methodId, AnyCall call) {
    call.allowCancellation();
    auto target = co_await whoKnows(true);
    KJ_IF_MAYBE (found, target) {
      co_return co_await handOn(kj::mv(*found), interfaceId, methodId, call);
    }
    // By the time that it is answered somebody may lead.
    auto asOfNs = leadership.knownNs();
    auto params = call.getParams();
    capnp::Capability::Client own = local;
    auto request = own.typelessRequest(interfaceId, methodId, params.targetSize());
    request.set(params);
    auto answer = co_await request.send();
    auto method = capnp::Schema::from<schema::ClusterControl>().getMethods()[methodId];
    auto results = call.getResults(answer.targetSize());
    results.set(answer);
    results.getAs<capnp::DynamicStruct>(method.getResultType()).set("asOfNs", asOfNs);
  }
  Task<capnp::Capability::Client> forInit() {
    co_await leadership.claimLead();
    co_return co_await cluster();
  }
  Task<void> doInfo(InfoContext context) {
    auto results = context.getResults();
    if (leadership.role() == Leadership::Role::OUTSIDER) results.initInfo();
    if (!results.hasInfo()) {
      auto found = co_await whoKnows(true);
      auto target = kj::mv(found).orDefault(capnp::Capability::Client(local));
      auto answer = co_await target.castAs<schema::ClusterControl>().infoRequest().send();
      results.setInfo(answer.getInfo());
    }
    co_await members.describeSelf(results.getInfo().initSelf());
  }
  Task<void> doAge(AgeContext context) {
    auto target = co_await whoKnows(true);
    if (target != nullptr) co_return;
    context.getResults().setAsOfNs(leadership.knownNs());
    context.getResults().setReason(leadership.whyNobody());
  }
  Task<void> doForceNew(ForceNewContext context) {
    auto alone = co_await leadership.forceNew();
    auto results = context.getResults();
    results.setStore(alone.store);
    results.setAsOfNs(alone.asOfNs);
    auto list = results.initRemoved(alone.removed.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, alone.removed[i].c_str());
  }

  const ClusterMethods initCall{"init"};
  // Of this host, whoever leads; and of this manager.
  const ClusterMethods ownCalls{"info", "join", "leave"};
  const ClusterMethods alwaysOwn{"status", "age", "backup", "restore", "forceNew"};
  kj::Own<kj::Refcounted> owner;
  Leadership& leadership;
  Membership& members;
  FrontParts parts;
  schema::ClusterControl::Client local;
};

class PeerFront final : public schema::PeerService::Server {
 public:
  PeerFront(kj::Own<kj::Refcounted> owner, Leadership& leadership, kj::StringPtr name,
            schema::PeerService::Client local)
      : owner(kj::mv(owner)), leadership(leadership), name(kj::str(name)), local(kj::mv(local)) {}
  kj::Promise<void> open(OpenContext context) override { return doOpen(context); }

 private:
  // A node has to be with the leader: whoever follows has nothing for it.
  bool isHandedOn(schema::Role role) const {
    return role == (name == "join" ? schema::Role::JOINER : schema::Role::ADMIN);
  }
  Task<void> doOpen(OpenContext context) {
    auto peer = context.getParams().getPeer();
    if (!isHandedOn(peer.getRole())) leadership.requireLead();
    // When nobody leads, users can read what was known last.
    bool reads = name == "admin";
    if (!leadership.leads()) co_await ready(leadership, reads);
    bool old = reads && leadership.isOld();
    if (old) leadership.releaseWhenLed();
    if (leadership.leads() || old) {
      auto request = local.openRequest();
      request.setPeer(peer);
      auto opened = co_await request.send();
      context.getResults().setService(opened.getService());
      co_return;
    }
    auto leader = leaderOf(leadership);
    auto request = leader.openRequest();
    request.setService(name);
    request.setPeer(peer);
    auto opened = co_await request.send();
    context.getResults().setService(opened.getService());
  }

  kj::Own<kj::Refcounted> owner;
  Leadership& leadership;
  const kj::String name;
  schema::PeerService::Client local;
};

Task<capnp::Capability::Client> dispatcherOf(Leadership& leadership,
                                             schema::Dispatcher::Client local) {
  if (!leadership.leads()) co_await leadership.settled();
  if (leadership.leads()) co_return local;
  auto leader = leaderOf(leadership);
  leadership.noteSession();
  co_return leader.dispatcherRequest().send().getDispatcher();
}

}  // namespace

capnp::Capability::Client newForwarder(kj::Own<kj::Refcounted> owner, Choose choose) {
  return kj::heap<Forwarder>(kj::mv(owner), kj::mv(choose));
}

schema::ClusterControl::Client newClusterFront(kj::Own<kj::Refcounted> owner, FrontParts parts,
                                               schema::ClusterControl::Client local) {
  return kj::heap<ClusterFront>(kj::mv(owner), parts, kj::mv(local));
}

schema::ClusterControl::Client newLeaderCluster(kj::Own<kj::Refcounted> owner,
                                                Leadership& leadership,
                                                schema::ClusterControl::Client local) {
  return capnp::Capability::Client(
             kj::heap<LeaderCluster>(kj::mv(owner), leadership, kj::mv(local)))
      .castAs<schema::ClusterControl>();
}

schema::ClusterControl::Client newConfirmedCluster(kj::Own<kj::Refcounted> owner,
                                                   Leadership& leadership,
                                                   schema::ClusterControl::Client local) {
  return capnp::Capability::Client(
             kj::heap<ConfirmedCluster>(kj::mv(owner), leadership, kj::mv(local)))
      .castAs<schema::ClusterControl>();
}

schema::Dispatcher::Client newDispatcherFront(kj::Own<kj::Refcounted> owner, Leadership& leadership,
                                              schema::Dispatcher::Client local) {
  Choose choose = [&leadership, local = kj::mv(local)]() mutable {
    return dispatcherOf(leadership, local);
  };
  return newForwarder(kj::mv(owner), kj::mv(choose)).castAs<schema::Dispatcher>();
}

schema::PeerService::Client newPeerFront(kj::Own<kj::Refcounted> owner, Leadership& leadership,
                                         kj::StringPtr name, schema::PeerService::Client local) {
  return kj::heap<PeerFront>(kj::mv(owner), leadership, name, kj::mv(local));
}

}  // namespace orch::control::manager
