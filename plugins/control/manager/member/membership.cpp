#include "member/membership.h"

#include <kj/debug.h>

#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/host-addresses.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

class PeerOpener final : public schema::PeerService::Server {
 public:
  explicit PeerOpener(kj::Function<capnp::Capability::Client(schema::Peer::Reader)> opened)
      : opened(kj::mv(opened)) {}
  kj::Promise<void> open(OpenContext context) override {
    context.getResults().setService(opened(context.getParams().getPeer()));
    return kj::READY_NOW;
  }

 private:
  kj::Function<capnp::Capability::Client(schema::Peer::Reader)> opened;
};

// Its certificate it was given by itself.
void noteFirstManager(View& view, const std::string& id, const std::string& authority) {
  auto manages = [&](schema::Node::Builder node) {
    node.setManages(true);
    node.setAuthority(authority.c_str());
  };
  if (view.node(id) == nullptr) {
    view.createAs<schema::Node>(Key{Kind::NODE, id}, manages);
  } else {
    view.edit<schema::Node>(Kind::NODE, id, manages);
  }
}

void refuseStrangers(schema::Role role) {
  bool node = role == schema::Role::WORKER || role == schema::Role::MANAGER;
  if (!node) fail(kj::str("this is for nodes of the cluster"));
}

}  // namespace

schema::PeerService::Client newPeerService(
    kj::Function<capnp::Capability::Client(schema::Peer::Reader)> open) {
  return kj::heap<PeerOpener>(kj::mv(open));
}

class Membership::RenewalServer final : public schema::Renewal::Server {
 public:
  RenewalServer(kj::Own<kj::Refcounted> owner, Membership& members, std::string id)
      : owner(kj::mv(owner)), members(members), id(std::move(id)) {}
  kj::Promise<void> renew(RenewContext context) override { return doRenew(context); }
  kj::Promise<void> awaitRole(AwaitRoleContext context) override {
    context.allowCancellation();
    return members.awaitRole(context, id);
  }
  kj::Promise<void> trusted(TrustedContext context) override {
    fillTrusted(members.trusted(role()), context.getResults().initTrusted());
    return kj::READY_NOW;
  }

 private:
  schema::Role role() {
    KJ_IF_MAYBE (role, members.roles.roleOf(id)) return *role;
    fail(kj::str("this node was removed from the cluster"));
  }
  Task<void> doRenew(RenewContext context) {
    auto is = role();
    auto request = kj::str(context.getParams().getRequest());
    auto certificate = co_await members.renewed(kj::mv(request), is, kj::str(id.c_str()));
    context.getResults().setCertificate(certificate.c_str());
    fillTrusted(members.trusted(is), context.getResults().initTrusted());
  }

  kj::Own<kj::Refcounted> owner;
  Membership& members;
  const std::string id;
};

Membership::Membership(kj::Refcounted& owner, Env& env, Host& host, Manager& manager)
    : owner(owner),
      env(env),
      host(host),
      manager(manager),
      file(kj::str(host.node().dataDir, "/", host.node().instance, ".authority").cStr()),
      external(env, kj::str(host.node().dataDir, "/", host.node().instance, ".external-ca").cStr()),
      roles(manager),
      renewer(env, host, [this](std::string cluster) { noteTrusted(kj::mv(cluster)); }),
      rendezvous(env, host) {}

Task<void> Membership::start() {
  trust = host.service<schema::Trust>("trust");
  auto asked = co_await attempt(trust.stateRequest().send());
  known = asked.ok();
  if (!known) co_return;  // a kernel without: of a test, or an older one
  auto state = asked.value().getState();
  member = state.getMember();
  role = state.getRole();
  ownAddress = kj::str(state.getAddress());
  for (auto manager : state.getManagers()) managers.add(kj::str(manager));
  digest = member ? state.getCluster().cStr() : "";
  locked = state.getLocked();
  lock = state.getLock().cStr();
  if (isWorker()) co_await dropAuthority();
  if (!isWorker() && !locked) co_await readAuthority();
}

std::vector<std::string> Membership::knownManagers() const {
  std::vector<std::string> found;
  for (auto& manager : managers) found.emplace_back(manager.cStr());
  return found;
}

Task<void> Membership::know(std::vector<std::string> addresses) {
  if (addresses.empty() || addresses == knownManagers()) co_return;
  managers.clear();
  for (auto& address : addresses) managers.add(kj::str(address.c_str()));
  auto knowing = trust.knowRequest();
  auto list = knowing.initManagers(addresses.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, addresses[i].c_str());
  co_await knowing.send().ignoreResult();
}

// One that lies there counts only if it is the cluster's, as when this was interrupted.
Task<Authority> Membership::ownAuthority(kj::String name, std::string certificate) {
  KJ_IF_MAYBE (there, authority) {
    if (there->certificate() == certificate) co_return *there;
  }
  auto fresh = Authority::make(name.cStr(), env.nowNs());
  co_await keep(fresh);
  co_return fresh;
}

Task<void> Membership::restoreAuthority(std::string secret) {
  KJ_REQUIRE(!member, "a member has its authority");
  co_await keep(Authority::decode(secret));
}

Task<kj::String> Membership::addressFor(kj::String wanted) {
  if (!known) co_return kj::String();
  if (wanted.size() > 0) co_return withNodePort(wanted);
  auto found = co_await trust.addressesRequest().send();
  auto addresses = found.getAddresses();
  if (addresses.size() == 0) co_return kj::String();
  if (addresses.size() > 1) {
    fail(kj::str("this host has several addresses (", kj::strArray(addresses, ", "),
                 "); say which one others reach it at, as in --advertise-addr ", addresses[0]));
  }
  co_return kj::str(addresses[0]);
}

Task<kj::String> Membership::open(kj::String wanted, kj::String asker,
                                  kj::Maybe<SigningPlace> place) {
  if (!known) co_return kj::String();
  if (member) {
    if (wanted.size() > 0) wanted = withNodePort(wanted);
    if (wanted.size() == 0 || wanted == ownAddress) co_return kj::str(ownAddress);
    if (asker != host.node().id) {
      fail(kj::str("this manager does not lead: '--advertise-addr' is for the one that does"));
    }
    auto moving = trust.moveRequest();
    moving.setAddress(wanted);
    co_await moving.send().ignoreResult();
    co_await trust.restartRequest().send().ignoreResult();
    co_return kj::mv(wanted);
  }
  wanted = co_await addressFor(kj::mv(wanted));
  if (wanted.size() == 0) co_return kj::String();
  auto cluster = KJ_REQUIRE_NONNULL(clusterOf(manager.state()), "there is no cluster");
  auto lifetimeNs = static_cast<int64_t>(cluster.getCertificateMs()) * NS_PER_MS;
  bool fresh = place != nullptr && cluster.getAuthority().size() == 0;
  if (!fresh) place = nullptr;
  auto making = fresh ? firstAuthority(KJ_ASSERT_NONNULL(place), lifetimeNs)
                      : ownAuthority(kj::str(cluster.getName()), cluster.getAuthority().cStr());
  auto signer = co_await kj::mv(making);
  Decide decide = [certificate = signer.certificate(), digest = signer.digest(),
                   own = std::string(host.node().id.cStr()), place](View& view) {
    noteFirstManager(view, own, digest);
    auto id = text(KJ_ASSERT_NONNULL(view.cluster()).getMeta().getId());
    view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder cluster) {
      cluster.setAuthority(certificate.c_str());
      KJ_IF_MAYBE (at, place) at->fill(cluster.initExternalAuthority());
      if (cluster.getWorkerSalt().size() == 0) cluster.setWorkerSalt(view.newId());
      if (cluster.getManagerSalt().size() == 0) cluster.setManagerSalt(view.newId());
    });
  };
  co_await manager.submit(kj::mv(decide));
  auto asked = co_await trust.requestRequest().send();
  auto address = withNodePort(wanted);
  auto certificate = co_await certificateFor(kj::str(asked.getRequest()), schema::Role::MANAGER,
                                             kj::str(host.node().id));
  auto adopt = trust.adoptRequest();
  adopt.setCertificate(certificate.c_str());
  adopt.setAuthority(signer.certificate().c_str());
  adopt.setAddress(address);
  adopt.initManagers(1).set(0, address);
  co_await adopt.send().ignoreResult();
  member = true;
  role = schema::Role::MANAGER;
  ownAddress = kj::mv(address);
  digest = signer.digest();
  begin();
  // This node's own agent describes it with the address from now on.
  host.publish("cluster.opened", host.node().id, {{"address", ownAddress}});
  KJ_IF_MAYBE (then, opened) co_await (*then)();
  co_await followStatesLock();
  co_return kj::str(ownAddress);
}

void Membership::begin() {
  if (!member) return;
  renewer.start();
  announce();
  absent = takeBackAbsent().promise().eagerlyEvaluate(
      [this](kj::Exception&& exception) { taskFailed(kj::mv(exception)); });
}

void Membership::announce() {
  using Role = schema::DiscoveryEntry::Role;
  rendezvous.start({isWorker() ? Role::WORKER : Role::MANAGER, ownAddress.cStr(), digest,
                    host.node().id.cStr()});
}

std::vector<std::string> Membership::managerAddresses() const {
  std::vector<std::string> found{ownAddress.cStr()};
  auto& state = manager.state();
  for (auto& [id, object] : state.all(Kind::NODE)) {
    auto address = text(object.as<schema::Node>().getAddress());
    bool other = state.isManager(id) && !address.empty() && address != found[0];
    if (other) found.push_back(kj::mv(address));
  }
  return found;
}

capnp::Capability::Client Membership::renewing(schema::Peer::Reader peer) {
  refuseStrangers(peer.getRole());
  return kj::heap<RenewalServer>(kj::addRef(owner), *this, peer.getId().cStr());
}

Task<void> Membership::describeSelf(schema::TrustState::Builder self) {
  if (!known) co_return;
  auto asked = co_await trust.stateRequest().send();
  auto state = asked.getState();
  self.setMember(state.getMember());
  self.setRole(state.getRole());
  self.setNodeId(state.getNodeId());
  self.setCluster(state.getCluster());
  self.setAddress(state.getAddress());
  self.setManagers(state.getManagers());
  self.setTrusted(state.getTrusted());
  self.setLocked(state.getLocked());
  self.setLock(state.getLock());
  self.setNotAfterNs(state.getNotAfterNs());
  self.setNotBeforeNs(state.getNotBeforeNs());
  self.setConnected(state.getConnected());
}

Task<void> Membership::join(HostJoin context) {
  auto params = context.getParams();
  if (!known) fail(kj::str("this node's kernel knows of no clusters"));
  if (!isWorker() && !manager.state().all(Kind::SERVICE).empty()) {
    fail(
        kj::str("this host runs services of its own cluster; remove them first: 'orch service ls' "
                "lists them"));
  }
  auto token = orch::trust::parseToken(params.getToken().cStr());
  std::vector<std::string> found;
  for (auto named : params.getManagers()) found.emplace_back(named.cStr());
  if (found.empty()) found = co_await rendezvous.find(token.digest);
  auto request = trust.joinRequest();
  request.setToken(params.getToken());
  auto list = request.initManagers(found.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, found[i].c_str());
  request.setAddress(params.getAddress());
  auto joined = co_await request.send();
  context.getResults().setState(joined.getState());
  co_await trust.restartRequest().send().ignoreResult();
}

Task<void> Membership::leave() {
  if (!member)
    fail(kj::str("this host is in no cluster of several nodes: there is nothing to leave"));
  leaves = true;
  KJ_IF_MAYBE (first, leaving) co_await (*first)();
  co_await dropAuthority();
  co_await trust.leaveRequest().send().ignoreResult();
  co_await trust.restartRequest().send().ignoreResult();
}

}  // namespace orch::control::manager
