#include "kernel/trust/trust.h"

#include <kj/debug.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/hand-on.h"
#include "orch/host-addresses.h"
#include "orch/trust/lock-box.h"
#include "orch/trust/own-address.h"

namespace orch::trust {

namespace {

constexpr const char* WHAT = "node's credentials";
constexpr const char* REMEDY =
    "remove it and join the cluster again with 'orch join', or restore it from a backup";
constexpr kj::StringPtr LOCKED = "this node is locked: 'orch unlock' on it"_kj;
constexpr kj::Duration BIND_EVERY = 1 * kj::SECONDS;  // of an address that is not there yet
// For the node's own address, and how often in a row it has to be missed: it should follow before
// the node counts as down; but one that was not there yet when orchd started may only be late.
constexpr kj::Duration LOOK_EVERY = 500 * kj::MILLISECONDS;
constexpr uint32_t LOOKS = 2, LOOKS_AT_START = 10;
// Between the answer to `restart` and its coming true.
constexpr kj::Duration RESTART_DELAY = 100 * kj::MILLISECONDS;

std::vector<std::string> texts(capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> result;
  for (auto text : list) result.emplace_back(text.cStr());
  return result;
}

Shown shownOf(const Credentials& credentials) {
  return {credentials.trusted, credentials.certificate, credentials.key};
}

// The port of another node, with the connection that it is asked through.
class ReachedGateway final : public schema::Gateway::Server {
 public:
  explicit ReachedGateway(kj::Own<kj::AsyncIoStream> stream)
      : link(kj::mv(stream)), gateway(link.bootstrap<schema::Gateway>()) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    return {handOn(gateway, interfaceId, methodId, call), false};
  }

 private:
  PeerLink link;
  schema::Gateway::Client gateway;
};

}  // namespace

class Trust::Server final : public schema::Trust::Server {
 public:
  explicit Server(Trust& trust) : trust(trust) {}
  // Nobody waits for one whose caller has gone: it ends with the trust, or would touch it later.
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    auto result = schema::Trust::Server::dispatchCall(interfaceId, methodId, call);
    result.promise = trust.calls.wrap(kj::mv(result.promise));
    return result;
  }
  kj::Promise<void> state(StateContext context) override {
    trust.describe(context.getResults().initState());
    return kj::READY_NOW;
  }
  kj::Promise<void> request(RequestContext context) override {
    auto made = newKeyRequest();
    trust.pendingKey = made.key;
    context.getResults().setRequest(made.request.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> adopt(AdoptContext context) override { return doAdopt(context); }
  kj::Promise<void> join(JoinContext context) override { return doJoin(context); }
  kj::Promise<void> leave(LeaveContext) override { return trust.forget(); }
  kj::Promise<void> restart(RestartContext) override {
    trust.restartSoon();
    return kj::READY_NOW;
  }
  kj::Promise<void> renew(RenewContext context) override {
    auto params = context.getParams();
    return trust.renew(params.getCertificate().cStr(), trustedOf(params.getTrusted()));
  }
  kj::Promise<void> suggest(SuggestContext context) override {
    KJ_IF_MAYBE (up, trust.uplink) (*up)->suggest(texts(context.getParams().getManagers()));
    return kj::READY_NOW;
  }
  kj::Promise<void> reach(ReachContext context) override { return doReach(context); }
  kj::Promise<void> release(ReleaseContext) override {
    KJ_IF_MAYBE (open, trust.listener) (*open)->dropMembers();
    return kj::READY_NOW;
  }
  kj::Promise<void> know(KnowContext context) override {
    return trust.know(texts(context.getParams().getManagers()));
  }
  kj::Promise<void> move(MoveContext context) override { return doMove(context); }
  kj::Promise<void> lock(LockContext context) override {
    return trust.lock(textOf(context.getParams().getKey()));
  }
  kj::Promise<void> unlock(UnlockContext context) override {
    return trust.unlock(textOf(context.getParams().getKey()));
  }
  kj::Promise<void> unlocked(UnlockedContext context) override {
    context.allowCancellation();
    if (!trust.locked()) return kj::READY_NOW;
    return trust.unlocked.addBranch();
  }
  kj::Promise<void> dataKey(DataKeyContext context) override {
    if (trust.locked()) fail(kj::str(LOCKED));
    context.getResults().setKey(bytesOf(trust.credentials.dataKey));
    return kj::READY_NOW;
  }
  kj::Promise<void> addresses(AddressesContext context) override {
    auto found = hostAddresses();
    auto list = context.getResults().initAddresses(found.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, found[i].c_str());
    return kj::READY_NOW;
  }

 private:
  Task<void> doReach(ReachContext context) {
    if (!trust.member()) fail(kj::str("this node is in no cluster of several nodes"));
    auto params = context.getParams();
    auto stream = co_await trust.connect(kj::str(params.getAddress()), params.getRole());
    context.getResults().setGateway(kj::heap<ReachedGateway>(kj::mv(stream)));
  }
  Task<void> doMove(MoveContext context) {
    std::string address = withNodePort(context.getParams().getAddress()).cStr();
    if (!trust.member()) fail(kj::str("this node is in no cluster of several nodes"));
    if (address == trust.credentials.address) co_return;
    if (trust.listenAddress.empty()) {
      auto receiver = co_await listenAt(trust.env, kj::str(address.c_str()));
    }
    co_await trust.move(kj::mv(address));
  }
  Task<void> doAdopt(AdoptContext context) {
    auto params = context.getParams();
    Credentials fresh;
    fresh.key = trust.pendingKey;
    fresh.certificate = params.getCertificate().cStr();
    fresh.trusted.authorities = params.getAuthority().cStr();
    fresh.managers = texts(params.getManagers());
    fresh.address = params.getAddress().cStr();
    if (fresh.key.empty()) fail(kj::str("there is no request that this would be the answer to"));
    checkSigned(fresh.certificate, fresh.trusted.authorities, fresh.key);
    auto alone = co_await trust.changing.enter();
    // Before anything is written: an address that is not this host's changes nothing.
    auto bound = co_await trust.bind(fresh);
    co_await trust.store(fresh);
    trust.takeIn(kj::mv(fresh));
    trust.listener = kj::mv(bound);
    if (!std::exchange(trust.following, true)) trust.tasks.add(trust.follow());
  }
  Task<void> doJoin(JoinContext context) {
    auto params = context.getParams();
    if (trust.member()) {
      fail(kj::str("this node is in a cluster of several nodes already; 'orch leave' first"));
    }
    Addresses own{params.getAddress().cStr(), trust.listenAddress};
    auto joining = joinCluster(trust.env, kj::str(params.getToken()), texts(params.getManagers()),
                               kj::mv(own));
    auto fresh = co_await kj::mv(joining);
    co_await trust.store(fresh);
    trust.takeIn(kj::mv(fresh));
    trust.describe(context.getResults().initState());
  }

  Trust& trust;
};

Trust::Trust(Env& env, log::Logger& logger, rpc::Registry& registry, std::string dataDir,
             std::string listen)
    : env(env),
      logger(logger),
      registry(registry),
      refused(env, logger),
      file(kj::mv(dataDir) + "/credentials"),
      listenAddress(kj::mv(listen)),
      tasks(*this) {}

Task<void> Trust::load() {
  auto read = [path = file]() { return readChecked(path, WHAT, REMEDY); };
  auto bytes = co_await env.workers().run(kj::mv(read));
  KJ_IF_MAYBE (content, bytes) takeIn(decode(*content));
}

void Trust::takeIn(Credentials fresh) {
  credentials = kj::mv(fresh);
  holder = holderOf(credentials.certificate);
  digest = digestOf(firstIn(credentials.trusted.authorities));
}

Task<void> Trust::begin(kj::Function<schema::Gateway::Client(schema::Peer::Reader)> forPeer) {
  gatewayFor = kj::mv(forPeer);
  if (!member()) co_return;
  if (locked()) {
    logger.write(schema::LogLevel::WARN, "trust.locked, waiting for 'orch unlock'");
    co_return;
  }
  open();
  if (holder.role != schema::Role::WORKER) co_return;
  auto up = kj::heap<Uplink>(env, logger, registry, credentials.managers,
                             [this](kj::String address) { return connect(kj::mv(address)); });
  tasks.add(up->run());
  uplink = kj::mv(up);
}

void Trust::open() {
  tasks.add(listen());
  following = true;
  tasks.add(follow());
}

Task<void> Trust::lock(std::string key) {
  auto alone = co_await changing.enter();
  if (!member() || left) fail(kj::str("this node is in no cluster of several nodes"));
  if (locked()) fail(kj::str(LOCKED));
  auto before = credentials;
  auto keyBefore = std::exchange(lockKey, key);
  credentials.lock = nameOfKey(key);
  if (key.empty()) credentials.dataKey.clear();
  if (!key.empty() && credentials.dataKey.empty()) credentials.dataKey = newLockKey();
  auto stored = co_await attempt(store(credentials));
  if (left) co_return co_await forget();
  if (stored.ok()) co_return;
  credentials.lock = before.lock;
  credentials.dataKey = before.dataKey;
  lockKey = kj::mv(keyBefore);
  kj::throwFatalException(kj::mv(stored.error()));
}

Task<void> Trust::unlock(std::string key) {
  auto alone = co_await changing.enter();
  if (!locked()) fail(kj::str("this node is not locked"));
  openSecrets(credentials, key);
  lockKey = kj::mv(key);
  logger.write(schema::LogLevel::INFO, "this node has been unlocked");
  if (gatewayFor != nullptr) open();
  unlocking.fulfiller->fulfill();
}

Task<kj::Own<kj::AsyncIoStream>> Trust::connect(kj::String address, schema::Role role) {
  if (locked()) fail(kj::str(LOCKED));
  auto shown = shownOf(credentials);
  auto tls = newTls(env, shown.trusted.authorities, shown.chain(), shown.key, false);
  auto name = role == schema::Role::WORKER ? WORKER_NAME : MANAGER_NAME;
  co_return co_await reachManager(env, *tls, kj::mv(address), name);
}

// A network that comes up later than orchd is no reason to be without the containers.
Task<void> Trust::listen() {
  for (bool complained = false;; complained = true) {
    auto bound = co_await attempt(bind(credentials));
    if (bound.ok()) {
      listener = kj::mv(bound.value());
      co_return;
    }
    if (!complained) {
      log::LogFields fields;
      fields.emplace_back("reason", kj::str(bound.message()));
      logger.write(schema::LogLevel::WARN, "peer.cannot-listen, trying until it works", fields);
    }
    co_await env.timer().afterDelay(BIND_EVERY);
  }
}

Task<kj::Own<PeerListener>> Trust::bind(Credentials with) {
  auto& make = KJ_REQUIRE_NONNULL(gatewayFor, "the node is not open yet");
  auto fresh = kj::heap<PeerListener>(env, refused, shownOf(with),
                                      [&make](schema::Peer::Reader peer) { return make(peer); });
  auto address = kj::str(listenAddress.empty() ? with.address.c_str() : listenAddress.c_str());
  co_await fresh->open(kj::mv(address));
  co_return kj::mv(fresh);
}

// Who is connected has been asked who it is already: that goes on.
Task<void> Trust::renew(std::string certificate, Trusted given) {
  auto alone = co_await changing.enter();
  auto fresh = credentials;
  if (!given.authorities.empty()) fresh.trusted = kj::mv(given);
  fresh.key = pendingKey;
  fresh.certificate = kj::mv(certificate);
  if (!member() || fresh.key.empty()) fail(kj::str("nobody has asked for a certificate"));
  checkSigned(fresh.certificate, fresh.trusted.authorities, fresh.key);
  auto same = holderOf(fresh.certificate);
  if (same.id != holder.id) fail(kj::str("the certificate is not this node's"));
  if (same.role == schema::Role::WORKER) fresh.lock.clear();
  co_await store(fresh);
  if (left) co_return co_await forget();
  if (same.role != holder.role) {
    credentials = kj::mv(fresh);
    restartSoon();
    co_return;
  }
  takeIn(kj::mv(fresh));
  KJ_IF_MAYBE (open, listener) (*open)->show(shownOf(credentials));
}

void Trust::restartSoon() {
  restarts = true;
  tasks.add(env.timer().afterDelay(RESTART_DELAY).then([this]() { restart.fulfiller->fulfill(); }));
}

Task<void> Trust::know(std::vector<std::string> managers) {
  Edit edit = [managers = kj::mv(managers)](Credentials& fresh) {
    if (managers.empty() || managers == fresh.managers) return false;
    fresh.managers = managers;
    return true;
  };
  co_await change(kj::mv(edit));
}

Task<void> Trust::move(std::string address) {
  Edit edit = [address = kj::mv(address)](Credentials& fresh) {
    std::replace(fresh.managers.begin(), fresh.managers.end(), fresh.address, address);
    fresh.address = address;
    fresh.own = false;  // until it is seen
    return true;
  };
  co_await change(kj::mv(edit));
}

Task<void> Trust::follow() {
  bool complained = false, seen = false;
  for (uint32_t missed = 0; !left;) {
    co_await env.timer().afterDelay(LOOK_EVERY);
    bool here = isOfThisHost(credentials.address);
    seen |= here;
    if (here && !credentials.own) {
      Edit edit = [address = credentials.address](Credentials& fresh) {
        return fresh.address == address && !std::exchange(fresh.own, true);
      };
      co_await change(kj::mv(edit));
    }
    missed = here || !credentials.own ? 0 : missed + 1;
    if (missed < (seen ? LOOKS : LOOKS_AT_START) || left) continue;
    log::LogFields fields;
    fields.emplace_back("address", kj::str(credentials.address.c_str()));
    auto instead = addressInstead(credentials.address, credentials.managers);
    if (instead) {
      fields.emplace_back("instead", kj::str(instead->c_str()));
      logger.write(schema::LogLevel::WARN, "peer.address-changed, starting again", fields);
      co_await move(*instead);
      restartSoon();
      co_return;
    }
    if (!complained) {
      logger.write(schema::LogLevel::WARN, "peer.address-gone, waiting for one", fields);
      complained = true;
    }
  }
}

Task<void> Trust::change(Edit edit) {
  auto alone = co_await changing.enter();
  if (!member() || left) co_return;
  auto fresh = credentials;
  if (!edit(fresh)) co_return;
  co_await store(fresh);
  if (left) co_return co_await forget();
  takeIn(kj::mv(fresh));
}

Task<void> Trust::store(Credentials fresh) {
  auto write = [path = file, bytes = encode(fresh, lockKey)]() { writeChecked(path, bytes); };
  co_await env.workers().run(kj::mv(write));
}

Task<void> Trust::forget() {
  left = true;
  auto remove = [path = file]() {
    if (unlink(path.c_str()) < 0 && errno != ENOENT) failFile("remove", path, errno);
    syncFolder(path.substr(0, path.rfind('/')));
  };
  co_await env.workers().run(kj::mv(remove));
}

bool Trust::connected() const {
  KJ_IF_MAYBE (up, uplink) return (*up)->connected();
  return false;
}

void Trust::describe(schema::TrustState::Builder state) const {
  state.setMember(member());
  if (!member()) return;
  state.setRole(holder.role);
  state.setNodeId(holder.id.c_str());
  state.setCluster(digest.c_str());
  state.setAddress(credentials.address.c_str());
  state.setAuthority(credentials.trusted.authorities.c_str());
  state.setTrusted(nameOf(credentials.trusted).c_str());
  state.setLocked(locked());
  state.setLock(credentials.lock.c_str());
  state.setNotBeforeNs(holder.notBeforeNs);
  state.setNotAfterNs(holder.notAfterNs);
  state.setConnected(connected());
  state.setLeaves(left);
  state.setRestarts(restarts);
  auto managers = state.initManagers(credentials.managers.size());
  for (uint32_t i = 0; i < managers.size(); ++i) managers.set(i, credentials.managers[i].c_str());
}

schema::Trust::Client Trust::service() { return kj::heap<Server>(*this); }

void Trust::taskFailed(kj::Exception&& exception) {
  log::LogFields fields;
  fields.emplace_back("reason", kj::str(plainText(exception)));
  logger.write(schema::LogLevel::ERROR, "trust.task-failed", fields);
}

}  // namespace orch::trust
