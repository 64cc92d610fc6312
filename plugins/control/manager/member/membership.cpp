#include "member/membership.h"

#include <kj/debug.h>
#include <openssl/crypto.h>

#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/host-addresses.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

constexpr const char* WHAT = "authority of the cluster";
constexpr const char* REMEDY = "restore it from a backup: without it no node can join";
constexpr kj::StringPtr NOBODY =
    "nobody can join this cluster yet: 'orch init --advertise-addr ADDRESS' makes it known to others"_kj;

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

// Takes as long for a secret that is nearly right.
bool sameSecret(kj::StringPtr a, kj::StringPtr b) {
  return a.size() > 0 && a.size() == b.size() && CRYPTO_memcmp(a.begin(), b.begin(), a.size()) == 0;
}

kj::StringPtr secretOf(schema::Cluster::Reader cluster, schema::Role role) {
  return role == schema::Role::MANAGER ? cluster.getManagerSecret() : cluster.getWorkerSecret();
}

kj::Maybe<schema::Cluster::Reader> clusterOf(const State& state) {
  for (auto& entry : state.all(Kind::CLUSTER)) return entry.second.as<schema::Cluster>();
  return nullptr;
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

class Membership::JoinServer final : public schema::Join::Server {
 public:
  JoinServer(kj::Own<kj::Refcounted> owner, Membership& members, std::string from)
      : owner(kj::mv(owner)), members(members), from(kj::mv(from)) {}
  kj::Promise<void> join(JoinContext context) override { return members.doJoin(context, from); }

 private:
  kj::Own<kj::Refcounted> owner;
  Membership& members;
  const std::string from;
};

class Membership::RenewalServer final : public schema::Renewal::Server {
 public:
  RenewalServer(kj::Own<kj::Refcounted> owner, Membership& members, schema::Role role,
                std::string id)
      : owner(kj::mv(owner)), members(members), role(role), id(std::move(id)) {}
  kj::Promise<void> renew(RenewContext context) override {
    if (members.manager.state().find(Kind::NODE, id) == nullptr) {
      fail(kj::str("this node was removed from the cluster"));
    }
    auto certificate = members.renewed(context.getParams().getRequest(), role, id.c_str());
    context.getResults().setCertificate(certificate.c_str());
    return kj::READY_NOW;
  }

 private:
  kj::Own<kj::Refcounted> owner;
  Membership& members;
  const schema::Role role;
  const std::string id;
};

Membership::Membership(kj::Refcounted& owner, Env& env, Host& host, Manager& manager)
    : owner(owner),
      env(env),
      host(host),
      manager(manager),
      file(kj::str(host.node().dataDir, "/", host.node().instance, ".authority").cStr()),
      renewer(env, host, [this](kj::String request) { return ownRenewal(kj::mv(request)); }),
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
  clusterDigest = kj::str(state.getCluster());
  if (isWorker()) co_return;
  auto read = [path = file]() { return readChecked(path, WHAT, REMEDY); };
  auto bytes = co_await env.workers().run(kj::mv(read));
  KJ_IF_MAYBE (content, bytes) {
    authority = Authority::decode(std::string(content->asChars().begin(), content->size()));
  }
}

// Its key is on the disk before anything is signed with it.
Task<Authority> Membership::ownAuthority(kj::String name) {
  KJ_IF_MAYBE (there, authority) co_return *there;
  auto fresh = Authority::make(name.cStr(), env.nowNs());
  auto write = [path = file, text = fresh.encode()]() {
    writeChecked(path, kj::StringPtr(text.c_str()).asBytes());
  };
  co_await env.workers().run(kj::mv(write));
  authority = fresh;
  co_return fresh;
}

Task<kj::String> Membership::open(kj::String wanted) {
  if (!known) co_return kj::String();
  if (member) {
    bool other = wanted.size() > 0 && withNodePort(wanted) != ownAddress;
    if (other) {
      fail(kj::str("this node's address is '", ownAddress,
                   "' to the others; to change it, 'orch leave --force' and 'orch init' again"));
    }
    co_return kj::str(ownAddress);
  }
  if (wanted.size() == 0) {
    auto found = co_await trust.addressesRequest().send();
    auto addresses = found.getAddresses();
    if (addresses.size() == 0) co_return kj::String();
    if (addresses.size() > 1) {
      fail(kj::str("this host has several addresses (", kj::strArray(addresses, ", "),
                   "); say which one others reach it at, as in --advertise-addr ", addresses[0]));
    }
    wanted = kj::str(addresses[0]);
  }
  auto cluster = KJ_REQUIRE_NONNULL(clusterOf(manager.state()), "there is no cluster");
  auto signer = co_await ownAuthority(kj::str(cluster.getName()));
  Decide decide = [certificate = signer.certificate()](View& view) {
    auto id = text(KJ_ASSERT_NONNULL(view.cluster()).getMeta().getId());
    view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder cluster) {
      cluster.setAuthority(certificate.c_str());
      if (cluster.getWorkerSecret().size() == 0) cluster.setWorkerSecret(view.newId());
      if (cluster.getManagerSecret().size() == 0) cluster.setManagerSecret(view.newId());
    });
  };
  co_await manager.submit(kj::mv(decide));
  auto asked = co_await trust.requestRequest().send();
  auto address = withNodePort(wanted);
  auto certificate = certificateFor(asked.getRequest(), schema::Role::MANAGER, host.node().id);
  auto adopt = trust.adoptRequest();
  adopt.setCertificate(certificate.c_str());
  adopt.setAuthority(signer.certificate().c_str());
  adopt.setAddress(address);
  adopt.initManagers(1).set(0, address);
  co_await adopt.send().ignoreResult();
  member = true;
  role = schema::Role::MANAGER;
  ownAddress = kj::mv(address);
  clusterDigest = kj::str(signer.digest().c_str());
  begin();
  // This node's own agent describes it with the address from now on.
  host.publish("cluster.opened", host.node().id, {{"address", ownAddress}});
  co_return kj::str(ownAddress);
}

void Membership::begin() {
  using Role = schema::DiscoveryEntry::Role;
  if (!member) return;
  renewer.start();
  rendezvous.start({isWorker() ? Role::WORKER : Role::MANAGER, ownAddress.cStr(),
                    clusterDigest.cStr(), host.node().id.cStr()});
}

std::string Membership::certificateFor(kj::StringPtr request, schema::Role role, kj::StringPtr id) {
  KJ_IF_MAYBE (cluster, clusterOf(manager.state())) {
    KJ_IF_MAYBE (signer, authority) {
      auto lifetimeNs = static_cast<int64_t>(cluster->getCertificateMs()) * NS_PER_MS;
      return signer->sign(request.cStr(), role, id.cStr(), env.nowNs(), lifetimeNs);
    }
  }
  fail(kj::str(NOBODY));
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

// Where the authority is, nobody else is needed.
kj::Promise<kj::String> Membership::ownRenewal(kj::String request) {
  if (!isWorker()) {
    auto certificate = certificateFor(request, schema::Role::MANAGER, host.node().id);
    return kj::str(certificate.c_str());
  }
  auto asking = host.service<schema::Renewal>("renewal").renewRequest();
  asking.setRequest(request);
  return asking.send().then([](auto&& answer) { return kj::str(answer.getCertificate()); });
}

std::string Membership::renewed(kj::StringPtr request, schema::Role role, kj::StringPtr id) {
  if (!mayJoin()) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many certificates are asked for"));
  }
  return certificateFor(request, role, id);
}

capnp::Capability::Client Membership::renewing(schema::Peer::Reader peer) {
  refuseStrangers(peer.getRole());
  return kj::heap<RenewalServer>(kj::addRef(owner), *this, peer.getRole(), peer.getId().cStr());
}

kj::String Membership::token(schema::Role wanted) const {
  KJ_IF_MAYBE (cluster, clusterOf(manager.state())) {
    KJ_IF_MAYBE (signer, authority) {
      auto secret = secretOf(*cluster, wanted);
      if (member && secret.size() > 0) {
        return kj::str("ORCHTKN-1-", signer->digest().c_str(), "-", secret);
      }
    }
  }
  fail(kj::str(NOBODY));
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
  self.setNotAfterNs(state.getNotAfterNs());
  self.setNotBeforeNs(state.getNotBeforeNs());
  self.setConnected(state.getConnected());
}

schema::PeerService::Client Membership::joining() {
  return newPeerService([this](schema::Peer::Reader peer) -> capnp::Capability::Client {
    if (peer.getRole() != schema::Role::JOINER) fail(kj::str("this node has joined already"));
    return kj::heap<JoinServer>(kj::addRef(owner), *this, peer.getAddress().cStr());
  });
}

bool Membership::mayJoin() {
  auto now = env.nowNs();
  auto seconds = static_cast<double>(now - joinsCountedNs) / (1000.0 * NS_PER_MS);
  joinsCountedNs = now;
  joinsLeft = std::min<double>(JOINS_AT_ONCE, joinsLeft + seconds * JOINS_PER_SECOND);
  if (joinsLeft < 1) return false;
  joinsLeft -= 1;
  return true;
}

void Membership::refused(const std::string& from, kj::StringPtr reason) {
  auto untold = refusals.admit(reason.cStr(), env.timer().now());
  if (!untold.has_value()) return;
  host.log().warn("join.refused",
                  {{"from", from.c_str()}, {"reason", reason}, {"moreLikeIt", kj::str(*untold)}});
}

Task<void> Membership::doJoin(NodeJoin context, std::string from) {
  if (!mayJoin()) {
    refused(from, "too many hosts are joining");
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many hosts are joining; try again"));
  }
  auto params = context.getParams();
  auto cluster = KJ_REQUIRE_NONNULL(clusterOf(manager.state()), NOBODY);
  bool worker = sameSecret(params.getSecret(), cluster.getWorkerSecret());
  bool manages = sameSecret(params.getSecret(), cluster.getManagerSecret());
  if (!worker && !manages) {
    refused(from, "the secret of its token is not, or no longer, the cluster's");
    fail(
        kj::str("the token is not valid, or no longer: 'orch join-token worker' on a manager "
                "prints one that is"));
  }
  if (manages) {
    fail(
        kj::str("a cluster has one manager so far; join as a worker, with the token of 'orch "
                "join-token worker'"));
  }
  auto id = env.newId();
  auto certificate = certificateFor(params.getRequest(), schema::Role::WORKER, id);
  Decide decide = [id = std::string(id.cStr())](View& view) {
    view.createAs<schema::Node>(Key{Kind::NODE, id}, [](schema::Node::Builder) {});
  };
  co_await manager.submit(kj::mv(decide));
  host.log().info("a node has joined", {{"node", id}});
  auto results = context.getResults();
  results.setNodeId(id);
  results.setRole(schema::Role::WORKER);
  results.setCertificate(certificate.c_str());
  auto addresses = managerAddresses();
  auto list = results.initManagers(addresses.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, addresses[i].c_str());
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
  co_await trust.leaveRequest().send().ignoreResult();
  co_await trust.restartRequest().send().ignoreResult();
}

void rotateSecret(View& view, schema::Role role) {
  auto id = text(KJ_REQUIRE_NONNULL(view.cluster(), NOBODY).getMeta().getId());
  view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder cluster) {
    if (role == schema::Role::MANAGER) {
      cluster.setManagerSecret(view.newId());
    } else {
      cluster.setWorkerSecret(view.newId());
    }
  });
}

void updateCluster(View& view, schema::ClusterChange::Reader change) {
  constexpr uint64_t HOUR_MS = 3'600'000, LEAST_MS = HOUR_MS, MOST_MS = 5 * 365 * 24 * HOUR_MS;
  auto expiryMs = change.getCertificateMs();
  if (expiryMs != 0 && (expiryMs < LEAST_MS || expiryMs > MOST_MS)) {
    fail(
        kj::str("usage: --cert-expiry must be 1h to 43800h, so that hosts that are off for a while "
                "come back, and less than the authority's own life"));
  }
  auto rebalance = change.getRebalance();
  if (rebalance.isSet() && rebalance.getSet().getMax() > 0) {
    constexpr uint32_t MOST_TASKS = 1000;
    constexpr uint64_t SECOND_MS = 1000, DAY_MS = 24 * HOUR_MS;
    auto terms = rebalance.getSet();
    if (terms.getMax() > MOST_TASKS || terms.getEveryMs() < SECOND_MS ||
        terms.getEveryMs() > DAY_MS) {
      fail(
          kj::str("usage: --rebalance must be none, or max=1 to max=1000 and every=1s to "
                  "every=24h"));
    }
  }
  auto id = text(KJ_REQUIRE_NONNULL(view.cluster(), NOBODY).getMeta().getId());
  view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder cluster) {
    if (expiryMs != 0) cluster.setCertificateMs(expiryMs);
    auto limit = change.getTaskHistoryLimit();
    if (limit.isSet()) cluster.setTaskHistoryLimit(limit.getSet());
    auto images = change.getImageLimit();
    if (images.isSetBytes()) cluster.setImageLimitBytes(images.getSetBytes());
    if (rebalance.isSet()) {
      cluster.setRebalanceMax(rebalance.getSet().getMax());
      cluster.setRebalanceEveryMs(rebalance.getSet().getEveryMs());
    }
  });
}

void updateNode(View& view, std::string_view id, schema::NodeChange::Reader change) {
  view.edit<schema::Node>(Kind::NODE, id, [&](schema::Node::Builder node) {
    auto availability = change.getAvailability();
    if (availability.isSet()) node.setAvailability(availability.getSet());
    std::map<std::string, std::string> labels;
    for (auto label : node.getLabels().asReader())
      labels[text(label.getKey())] = text(label.getValue());
    for (auto key : change.getRemoveLabels()) labels.erase(key.cStr());
    for (auto label : change.getAddLabels()) labels[text(label.getKey())] = text(label.getValue());
    auto list = node.initLabels(labels.size());
    uint32_t i = 0;
    for (auto& [key, value] : labels) {
      list[i].setKey(key.c_str());
      list[i++].setValue(value.c_str());
    }
  });
  for (auto& taskId : view.base().tasksOf(id)) {
    KJ_IF_MAYBE (task, view.task(taskId)) view.touch(manager::view(task->getServiceId()));
  }
}

void removeNode(View& view, std::string_view id) {
  for (auto& taskId : view.base().tasksOf(id)) {
    KJ_IF_MAYBE (task, view.task(taskId)) {
      view.touch(manager::view(task->getServiceId()));
      if (isTerminal(*task)) continue;
      view.editStatus(*task, [&](schema::TaskStatus::Builder status) {
        status.setState(schema::TaskState::ORPHANED);
        status.setAtNs(view.now());
        status.setEndedAtNs(view.now());
        status.setMessage("its node was removed from the cluster");
      });
    }
  }
  view.erase(Key{Kind::NODE, std::string(id)});
}

}  // namespace orch::control::manager
