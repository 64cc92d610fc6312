// What a host of a cluster with several managers has besides: who it is to the others, and a way to
// the state that all managers reach.
#include <capnp/schema.h>
#include <unistd.h>

#include <filesystem>

#include "kernel/rpc/peer-gateway.h"
#include "orch/attempt.h"
#include "orch/hand-on.h"
#include "orch/trust/certificate.h"
#include "orch/trust/peer-link.h"
#include "simulated-life.h"

namespace orch::testing {

namespace {

constexpr int64_t VALID_NS = 90ll * 24 * 3'600 * 1'000'000'000;
constexpr kj::Duration UNREACHED_AFTER = 1 * kj::SECONDS;

uint16_t methodOf(kj::StringPtr name) {
  return capnp::Schema::from<schema::Store>().getMethodByName(name).getOrdinal();
}
const auto ELECT = methodOf("elect"), COMMIT = methodOf("commit"), FIND = methodOf("find"),
           FOLLOW = methodOf("follow");

// The port of another node, with the connection that it is asked through.
class ReachedNode final : public schema::Gateway::Server {
 public:
  explicit ReachedNode(kj::Own<kj::AsyncIoStream> stream)
      : link(kj::mv(stream)), gateway(link.bootstrap<schema::Gateway>()) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    return {handOn(gateway, interfaceId, methodId, call), false};
  }

 private:
  trust::PeerLink link;
  schema::Gateway::Client gateway;
};

}  // namespace

kj::Promise<void> SimulatedHost::TrustServer::state(StateContext context) {
  auto& member = life.host.member;
  auto state = context.getResults().initState();
  state.setMember(member.joined);
  if (!member.joined) return kj::READY_NOW;
  bool manages = life.host.manages();
  state.setRole(manages ? schema::Role::MANAGER : schema::Role::WORKER);
  state.setNodeId(life.host.name.c_str());
  state.setAddress(kj::str(life.host.name.c_str(), ":", NODE_PORT));
  state.setCluster(member.cluster.c_str());
  state.setTrusted(trust::nameOf(member.trusted).c_str());
  auto managers = state.initManagers(member.managers.size());
  for (uint32_t i = 0; i < managers.size(); ++i) managers.set(i, member.managers[i].c_str());
  state.setNotBeforeNs(life.env.nowNs());
  state.setNotAfterNs(life.env.nowNs() + VALID_NS);
  return kj::READY_NOW;
}

kj::Promise<void> SimulatedHost::TrustServer::request(RequestContext context) {
  auto keys = trust::newKeyRequest();
  key = keys.key;
  context.getResults().setRequest(keys.request.c_str());
  return kj::READY_NOW;
}

kj::Promise<void> SimulatedHost::TrustServer::adopt(AdoptContext context) {
  if (life.over) return kj::NEVER_DONE;
  auto authority = context.getParams().getAuthority();
  trust::checkSigned(context.getParams().getCertificate().cStr(), authority.cStr(), key);
  life.host.member.joined = true;
  life.host.member.cluster = trust::digestOf(authority.cStr());
  life.host.member.trusted = {authority.cStr(), "", ""};
  return kj::READY_NOW;
}

kj::Promise<void> SimulatedHost::TrustServer::renew(RenewContext context) {
  if (life.over) return kj::NEVER_DONE;
  auto& member = life.host.member;
  auto params = context.getParams();
  auto given = trust::trustedOf(params.getTrusted());
  if (given.authorities.empty()) given = member.trusted;
  trust::checkSigned(params.getCertificate().cStr(), given.authorities, key);
  member.trusted = kj::mv(given);
  member.cluster = trust::digestOf(trust::firstIn(member.trusted.authorities));
  return kj::READY_NOW;
}

kj::Promise<void> SimulatedHost::TrustServer::know(KnowContext context) {
  if (life.over) return kj::NEVER_DONE;
  auto& managers = life.host.member.managers;
  managers.clear();
  for (auto manager : context.getParams().getManagers()) managers.emplace_back(manager.cStr());
  life.host.shared.log.add(life.host.name.c_str(),
                           kj::str("knows ", kj::strArray(context.getParams().getManagers(), " ")));
  return kj::READY_NOW;
}

kj::Promise<void> SimulatedHost::TrustServer::reach(ReachContext context) {
  if (life.over) return kj::NEVER_DONE;
  auto address = kj::str(context.getParams().getAddress());
  auto reaching = life.connecting.wrap(trust::reach(life.env, kj::mv(address)).promise());
  return reaching.then([context](auto&& stream) mutable {
    context.getResults().setGateway(kj::heap<ReachedNode>(kj::mv(stream)));
  });
}

kj::Promise<void> SimulatedHost::TrustServer::release(ReleaseContext) {
  life.peers = Life::newTasks(life.host);
  return kj::READY_NOW;
}

// What has changed, on its way to a manager: after what was sent before, and once the way is free.
class SimulatedHost::StateProxy::Changes final : public schema::ChangeSink::Server {
 public:
  Changes(StateProxy& proxy, schema::ChangeSink::Client sink)
      : life(proxy.life), sink(kj::mv(sink)) {}
  kj::Promise<void> changes(ChangesContext context) override { return hand(context); }
  kj::Promise<void> resync(ResyncContext context) override {
    auto request = sink.resyncRequest();
    request.setRevision(context.getParams().getRevision());
    return request.send().ignoreResult();
  }

 private:
  Task<void> hand(ChangesContext context) {
    do {
      co_await onTheWay(life);
    } while (life.host.isStateCut());
    if (life.host.shared.bug == Bug::SKIPPED_CHANGE && life.env.random() % 20 == 0) co_return;
    auto request = sink.changesRequest();
    request.setRevision(context.getParams().getRevision());
    request.setOps(context.getParams().getOps());
    co_await request.send();
  }

  Life& life;
  schema::ChangeSink::Client sink;
};

// Between the host and the state, one way, while it runs.
Task<void> SimulatedHost::StateProxy::onTheWay(Life& life) {
  co_await life.env.timer().afterDelay((100 + life.env.random() % 400) * kj::MICROSECONDS);
  if (life.over) co_await kj::Promise<void>(kj::NEVER_DONE);
}

SimulatedHost::StateProxy::StateProxy(Life& life)
    : life(life), state(life.host.shared.state->client()) {}

capnp::Capability::Server::DispatchCallResult SimulatedHost::StateProxy::dispatchCall(
    uint64_t interfaceId, uint16_t methodId,
    capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) {
  context.allowCancellation();
  return {forward(interfaceId, methodId, context), false};
}

// One way.
Task<void> SimulatedHost::StateProxy::travel() {
  co_await onTheWay(life);
  if (!life.host.isStateCut()) co_return;
  co_await life.env.timer().afterDelay(UNREACHED_AFTER);
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the state does not answer"));
}

Task<void> SimulatedHost::StateProxy::forward(
    uint64_t interfaceId, uint16_t methodId,
    capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) {
  auto going = travel();
  co_await kj::mv(going);
  auto params = context.getParams();
  auto request = state.typelessRequest(interfaceId, methodId, params.targetSize());
  request.set(params);
  if (methodId == FOLLOW) {
    auto follow = request.getAs<schema::Store::FollowParams>();
    follow.setSink(kj::heap<Changes>(*this, follow.asReader().getSink()));
  }
  bool blind = life.host.shared.bug == Bug::BLIND_COMMIT && methodId == COMMIT;
  if (blind) {
    request.getAs<schema::Store::CommitParams>().setEpoch(life.host.shared.state->epoch());
  }
  auto answer = co_await request.send();
  auto coming = travel();
  co_await kj::mv(coming);
  context.getResults().set(answer);
  distort(methodId, context.getResults());
  bool asks = methodId == ELECT && params.getAs<schema::Store::ElectParams>().getCandidate() != "?";
  if (!asks) co_return;
  auto election = context.getResults().getAs<schema::Store::ElectResults>();
  if (!election.getWon()) co_return;
  wonEpoch = election.getEpoch();
  life.host.shared.elected(life.host.name);
}

// By the bugs that are planted.
void SimulatedHost::StateProxy::distort(uint16_t methodId, capnp::AnyPointer::Builder answer) {
  auto bug = life.host.shared.bug;
  if (bug == Bug::UNKNOWN_REFUSED && methodId == FIND) {
    answer.getAs<schema::Store::FindResults>().setFound(false);
  }
  if (bug != Bug::STALE_LEAD) return;
  if (methodId == COMMIT) {
    auto result = answer.getAs<schema::Store::CommitResults>().getResult();
    if (result.isRefused()) wonEpoch = 0;
  }
  bool lies = methodId == ELECT && wonEpoch > 0;
  if (!lies) return;
  auto election = answer.getAs<schema::Store::ElectResults>();
  if (election.getWon()) return;
  election.setEpoch(wonEpoch);
  election.setLeader(life.host.name.c_str());
}

// Real files, of the authority alone.
std::string SimulatedHost::dataDir() const {
  if (shared.managers == 1) return "/sim/" + name;
  return shared.folder + "/" + name;
}

}  // namespace orch::testing
