#include "kernel/trust/trust.h"

#include <capnp/serialize.h>
#include <kj/debug.h>
#include <unistd.h>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/host-addresses.h"

namespace orch::trust {

namespace {

constexpr const char* WHAT = "node's credentials";
constexpr const char* REMEDY =
    "remove it and join the cluster again with 'orch join', or restore it from a backup";
constexpr kj::Duration BIND_EVERY = 1 * kj::SECONDS;  // of an address that is not there yet
// Between the answer to `restart` and its coming true.
constexpr kj::Duration RESTART_DELAY = 100 * kj::MILLISECONDS;

kj::Array<kj::byte> encode(const Credentials& credentials) {
  capnp::MallocMessageBuilder message;
  auto record = message.initRoot<schema::NodeCredentials>();
  record.setKey(credentials.key.c_str());
  record.setCertificate(credentials.certificate.c_str());
  record.setAuthority(credentials.authority.c_str());
  record.setAddress(credentials.address.c_str());
  auto managers = record.initManagers(credentials.managers.size());
  for (uint32_t i = 0; i < managers.size(); ++i) managers.set(i, credentials.managers[i].c_str());
  auto words = capnp::messageToFlatArray(message);
  auto bytes = words.asBytes();
  return kj::heapArray<kj::byte>(bytes.begin(), bytes.size());
}

std::vector<std::string> texts(capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> result;
  for (auto text : list) result.emplace_back(text.cStr());
  return result;
}

Credentials decode(kj::ArrayPtr<const kj::byte> bytes) {
  auto words = kj::arrayPtr(reinterpret_cast<const capnp::word*>(bytes.begin()),
                            bytes.size() / sizeof(capnp::word));
  capnp::FlatArrayMessageReader message(words);
  auto record = message.getRoot<schema::NodeCredentials>();
  return {record.getKey().cStr(), record.getCertificate().cStr(), record.getAuthority().cStr(),
          texts(record.getManagers()), record.getAddress().cStr()};
}

}  // namespace

class Trust::Server final : public schema::Trust::Server {
 public:
  explicit Server(Trust& trust) : trust(trust) {}
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
    trust.tasks.add(trust.env.timer().afterDelay(RESTART_DELAY).then([this]() {
      trust.restart.fulfiller->fulfill();
    }));
    return kj::READY_NOW;
  }
  kj::Promise<void> renew(RenewContext context) override {
    return trust.renew(context.getParams().getCertificate().cStr());
  }
  kj::Promise<void> suggest(SuggestContext context) override {
    KJ_IF_MAYBE (up, trust.uplink) (*up)->suggest(texts(context.getParams().getManagers()));
    return kj::READY_NOW;
  }
  kj::Promise<void> addresses(AddressesContext context) override {
    auto found = hostAddresses();
    auto list = context.getResults().initAddresses(found.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, found[i].c_str());
    return kj::READY_NOW;
  }

 private:
  Task<void> doAdopt(AdoptContext context) {
    auto params = context.getParams();
    Credentials fresh{trust.pendingKey, params.getCertificate().cStr(),
                      params.getAuthority().cStr(), texts(params.getManagers()),
                      params.getAddress().cStr()};
    if (fresh.key.empty()) fail(kj::str("there is no request that this would be the answer to"));
    checkSigned(fresh.certificate, fresh.authority, fresh.key);
    // Before anything is written: an address that is not this host's changes nothing.
    auto bound = co_await trust.bind(fresh);
    co_await trust.store(fresh);
    trust.takeIn(kj::mv(fresh));
    trust.listener = kj::mv(bound);
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
  digest = digestOf(credentials.authority);
}

Task<void> Trust::begin(kj::Function<schema::Gateway::Client(schema::Peer::Reader)> forPeer) {
  gatewayFor = kj::mv(forPeer);
  if (!member()) co_return;
  tasks.add(listen());
  if (holder.role != schema::Role::WORKER) co_return;
  auto up = kj::heap<Uplink>(env, logger, registry, credentials.managers,
                             [this](kj::String address) { return connect(kj::mv(address)); });
  tasks.add(up->run());
  uplink = kj::mv(up);
}

Task<kj::Own<kj::AsyncIoStream>> Trust::connect(kj::String address) {
  auto tls = newTls(env, credentials.authority, credentials.certificate, credentials.key, false);
  co_return co_await reachManager(env, *tls, kj::mv(address));
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
  auto fresh =
      kj::heap<PeerListener>(env, refused, Shown{with.authority, with.certificate, with.key},
                             [&make](schema::Peer::Reader peer) { return make(peer); });
  auto address = kj::str(listenAddress.empty() ? with.address.c_str() : listenAddress.c_str());
  co_await fresh->open(kj::mv(address));
  co_return kj::mv(fresh);
}

// Who is connected has been asked who it is already: that goes on.
Task<void> Trust::renew(std::string certificate) {
  auto fresh = credentials;
  fresh.key = pendingKey;
  fresh.certificate = kj::mv(certificate);
  if (!member() || fresh.key.empty()) fail(kj::str("nobody has asked for a certificate"));
  checkSigned(fresh.certificate, fresh.authority, fresh.key);
  auto same = holderOf(fresh.certificate);
  bool own = same.id == holder.id && same.role == holder.role;
  if (!own) fail(kj::str("the certificate is not this node's"));
  co_await store(fresh);
  if (left) co_return co_await forget();
  takeIn(kj::mv(fresh));
  KJ_IF_MAYBE (open, listener) {
    (*open)->show({credentials.authority, credentials.certificate, credentials.key});
  }
}

Task<void> Trust::store(Credentials fresh) {
  auto write = [path = file, bytes = encode(fresh)]() { writeChecked(path, bytes); };
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
  state.setAuthority(credentials.authority.c_str());
  state.setNotBeforeNs(holder.notBeforeNs);
  state.setNotAfterNs(holder.notAfterNs);
  state.setConnected(connected());
  state.setLeaves(left);
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
