#include "kernel/trust/peer-listener.h"

#include <kj/debug.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "kernel/rpc/listener.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/wary-stream.h"

namespace orch::trust {

namespace {

constexpr kj::byte TLS_HELLO = 0x16;
constexpr kj::byte PLAIN = 0x00;
constexpr kj::byte JOINER = 'J';
constexpr kj::uint PEER_WORDS = 64;            // of id, fingerprint and address; kept by connection
constexpr uint64_t MEMBER_WORDS = 1ull << 24;  // 128 MiB: a complete set of 10,000 tasks fits
constexpr uint64_t WORKER_WORDS = 1ull << 20;  // 8 MiB: what one tells is never that long

class IntroductionServer final : public schema::Introduction::Server {
 public:
  explicit IntroductionServer(const std::string& certificate) : certificate(certificate) {}
  kj::Promise<void> authority(AuthorityContext context) override {
    context.getResults().setCertificate(certificate.c_str());
    return kj::READY_NOW;
  }

 private:
  const std::string certificate;
};

std::set<std::string> digestsIn(const std::string& authorities) {
  std::set<std::string> digests;
  for (auto& authority : certificatesIn(authorities)) digests.insert(digestOf(authority));
  return digests;
}

std::string withoutPort(kj::StringPtr address) {
  KJ_IF_MAYBE (colon, address.findLast(':')) return std::string(address.cStr(), *colon);
  return address.cStr();
}

}  // namespace

struct PeerListener::Connection {
  Connection(PeerListener& listener, kj::Own<kj::AsyncIoStream> given,
             capnp::Capability::Client bootstrap, Other other)
      : listener(listener),
        stream(kj::mv(given)),
        messages(newToldMessages(*stream,
                                 [this, from = kj::mv(other.from)](kj::StringPtr reason) {
                                   this->listener.refused(from, reason);
                                   dropped.fulfiller->fulfill();
                                 })),
        network(*messages, capnp::rpc::twoparty::Side::SERVER, limits(other.words)),
        rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))),
        signer(kj::mv(other.signer)),
        place(listener.named.emplace(kj::mv(other.id), this)) {}
  ~Connection() { listener.named.erase(place); }
  static capnp::ReaderOptions limits(uint64_t words) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = words;
    return options;
  }

  PeerListener& listener;
  kj::Own<kj::AsyncIoStream> stream;
  kj::Own<capnp::MessageStream> messages;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  kj::PromiseFulfillerPair<void> dropped = kj::newPromiseAndFulfiller<void>();
  kj::Promise<void> ending = nullptr;
  const std::string signer;
  std::multimap<std::string, Connection*>::iterator place;
};

// Counts one of whom it is not known yet who it is.
struct PeerListener::Stranger {
  Stranger(PeerListener& listener, kj::String given)
      : listener(listener),
        from(kj::mv(given)),
        source(withoutPort(from)),
        since(listener.env.timer().now()),
        place(listener.strangersOf[source].insert(listener.strangersOf[source].end(), this)) {
    ++listener.open_;
    ++listener.strangers;
  }
  ~Stranger() {
    recognized();
    --listener.open_;
  }
  KJ_DISALLOW_COPY(Stranger);
  // It is none any more.
  void recognized() {
    if (known) return;
    known = true;
    --listener.strangers;
    auto& others = listener.strangersOf[source];
    others.erase(place);
    if (others.empty()) listener.strangersOf.erase(source);
  }

  PeerListener& listener;
  const kj::String from;
  const std::string source;
  const kj::TimePoint since;
  std::list<Stranger*>::iterator place;
  kj::PromiseFulfillerPair<void> dropped = kj::newPromiseAndFulfiller<void>();
  bool known = false;
};

Task<kj::Own<kj::ConnectionReceiver>> listenAt(Env& env, kj::String address) {
  auto parsed = co_await env.network().parseAddress(address);
  auto bound = attemptNow([&]() { return parsed->listen(); });
  if (!bound.ok()) {
    fail(kj::str("cannot listen at '", address, "': ", systemReason(bound.message()),
                 "; is another program using the port, or is the address not this host's?"));
  }
  co_return kj::mv(bound.value());
}

PeerListener::PeerListener(Env& env, log::Refusals& refusals, Shown given, GatewayFor gatewayFor)
    : env(env), refusals(refusals), gatewayFor(kj::mv(gatewayFor)), tasks(*this) {
  show(kj::mv(given));
}

void PeerListener::show(Shown fresh) {
  auto before = digestsIn(shown.trusted.authorities);
  shown = kj::mv(fresh);
  auto& trusted = shown.trusted;
  members = newTls(env, trusted.authorities + trusted.former, shown.chain(), shown.key, true);
  joiners = newTls(env, trusted.authorities, shown.chain(), shown.key, false);
  auto now = digestsIn(trusted.authorities);
  if (std::includes(now.begin(), now.end(), before.begin(), before.end())) return;
  for (auto& entry : named) {
    auto& stale = *entry.second;
    if (stale.signer == ANYBODY || now.count(stale.signer) > 0) continue;
    auto end = env.timer().afterDelay(env.random() % STALE_MS * kj::MILLISECONDS);
    auto drop = [&stale]() { stale.dropped.fulfiller->fulfill(); };
    stale.ending = end.then(kj::mv(drop)).eagerlyEvaluate(nullptr);
  }
}

// Where an authority has been replaced for good, it vouches for nobody any more: of admins, each
// certificate is known.
std::string PeerListener::checkedSigner(kj::PeerIdentity& identity, schema::Role role) const {
  if (role == schema::Role::ADMIN) return ANYBODY;
  auto signer = signerOf(identity, shown.trusted.authorities);
  if (signer.empty() && !shown.trusted.former.empty()) {
    fail(
        kj::str("its certificate is of an authority that 'orch ca --rotate' has replaced; 'orch "
                "leave' there, then 'orch join' with a token"));
  }
  return signer;
}

void PeerListener::dropMembers() {
  for (auto& entry : named) entry.second->dropped.fulfiller->fulfill();
}

Task<void> PeerListener::open(kj::String address) {
  receiver = co_await listenAt(env, kj::mv(address));
  tasks.add(serve());
}

Task<void> PeerListener::serve() {
  for (;;) {
    // KJ throws at once what accept(2) answers at once.
    auto next = kj::evalNow([this]() { return receiver->acceptAuthenticated(); });
    auto accepted = co_await attempt(kj::mv(next));
    if (!accepted.ok()) {
      refused("", accepted.message());
      co_await env.timer().afterDelay(rpc::Listener::RETRY_MS * kj::MILLISECONDS);
      continue;
    }
    auto from = accepted.value().peerIdentity->toString();
    auto there = strangersOf.find(withoutPort(from));
    if (open_ >= MAX_CONNECTIONS) {
      refused(from, "there are too many connections");
    } else if (there != strangersOf.end() && there->second.size() >= STRANGERS_PER_ADDRESS) {
      refused(from, "too many connections of its address have not said yet who they are");
    } else {
      if (strangers >= MAX_STRANGERS) makeRoom();
      tasks.add(greet(kj::mv(accepted.value())));
    }
  }
}

void PeerListener::makeRoom() {
  auto worse = [](auto& a, auto& b) {
    auto sizes = std::make_pair(a.second.size(), b.second.size());
    if (sizes.first != sizes.second) return sizes.first < sizes.second;
    return a.second.front()->since > b.second.front()->since;
  };
  auto& victim = *std::max_element(strangersOf.begin(), strangersOf.end(), worse)->second.front();
  refused(victim.from, "too many connections have not said yet who they are");
  victim.recognized();
  victim.dropped.fulfiller->fulfill();
}

// As long as it is not known who it is, a connection is one of few, has little time and little to
// say.
Task<void> PeerListener::greet(kj::AuthenticatedStream accepted) {
  Stranger stranger(*this, accepted.peerIdentity->toString());
  auto heard = hear(kj::mv(accepted), stranger);
  auto dropped = kj::mv(stranger.dropped.promise);
  co_await kj::mv(heard).promise().exclusiveJoin(kj::mv(dropped));
}

Task<void> PeerListener::hear(kj::AuthenticatedStream accepted, Stranger& stranger) {
  auto stream = kj::mv(accepted.stream);
  keepAlive(*stream);
  kj::byte first = 0;
  bool late = false;
  auto silence = env.timer().afterDelay(HANDSHAKE_LIMIT).then([&late]() {
    late = true;
    return size_t{0};
  });
  size_t n = co_await stream->tryRead(&first, 1, 1).exclusiveJoin(kj::mv(silence));
  if (late) refused(stranger.from, "it said nothing");
  if (n == 0) co_return;
  if (first == PLAIN) {
    auto introduction = kj::heap<IntroductionServer>(firstIn(shown.trusted.authorities));
    co_await serveStranger(bounded(STRANGER_BYTES, putBack(first, kj::mv(stream))),
                           kj::mv(introduction), kj::str(stranger.from));
    co_return;
  }
  bool joiner = first == JOINER;
  if (!joiner && first != TLS_HELLO) {
    refused(stranger.from, "it speaks neither TLS nor the protocol of joining");
    co_return;
  }
  stream = joiner ? bounded(STRANGER_BYTES, kj::mv(stream)) : putBack(first, kj::mv(stream));
  kj::AuthenticatedStream opened{kj::mv(stream), kj::mv(accepted.peerIdentity)};
  co_await shakeHands(kj::mv(opened), joiner, stranger);
}

Task<void> PeerListener::shakeHands(kj::AuthenticatedStream stream, bool joiner,
                                    Stranger& stranger) {
  auto& tls = joiner ? *joiners : *members;
  auto handshake = tls.wrapServer(kj::mv(stream));
  auto wrapped = co_await attempt(kj::mv(handshake));
  if (!wrapped.ok()) {
    bool left = wrapped.error().getType() == kj::Exception::Type::DISCONNECTED;
    refused(stranger.from, left ? "it left in the middle of the handshake"_kj : wrapped.message());
    co_return;
  }
  capnp::MallocMessageBuilder message(PEER_WORDS);
  auto peer = message.initRoot<schema::Peer>();
  peer.setAddress(stranger.from);
  if (joiner) {
    peer.setRole(schema::Role::JOINER);
    co_await serveStranger(kj::mv(wrapped.value().stream), gatewayFor(peer),
                           kj::str(stranger.from));
    co_return;
  }
  auto holder = attemptNow([&]() { return holderOf(*wrapped.value().peerIdentity); });
  if (!holder.ok()) {
    refused(stranger.from, holder.message());
    co_return;
  }
  auto role = holder.value().role;
  auto signer = attemptNow([&]() { return checkedSigner(*wrapped.value().peerIdentity, role); });
  if (!signer.ok()) {
    refused(stranger.from, signer.message());
    co_return;
  }
  stranger.recognized();
  // Those of one id are in the order that they came in.
  auto [oldest, end] = named.equal_range(holder.value().id);
  auto count = static_cast<size_t>(std::distance(oldest, end));
  for (; count >= CONNECTIONS_PER_MEMBER; --count) (oldest++)->second->dropped.fulfiller->fulfill();
  peer.setRole(role);
  peer.setId(holder.value().id.c_str());
  peer.setFingerprint(holder.value().fingerprint.c_str());
  auto words = role == schema::Role::WORKER ? WORKER_WORDS : MEMBER_WORDS;
  Other other{holder.value().id, kj::str(stranger.from), words, kj::mv(signer.value())};
  co_await serveRpc(kj::mv(wrapped.value().stream), gatewayFor(peer), kj::mv(other));
}

Task<void> PeerListener::serveStranger(kj::Own<kj::AsyncIoStream> stream,
                                       capnp::Capability::Client bootstrap, kj::String from) {
  auto limit = env.timer().afterDelay(HANDSHAKE_LIMIT);
  Other other{"", kj::mv(from), STRANGER_BYTES / sizeof(capnp::word), ANYBODY};
  auto serving = serveRpc(kj::mv(stream), kj::mv(bootstrap), kj::mv(other));
  co_await kj::mv(serving).promise().exclusiveJoin(kj::mv(limit));
}

Task<void> PeerListener::serveRpc(kj::Own<kj::AsyncIoStream> stream,
                                  capnp::Capability::Client bootstrap, Other other) {
  stream = impatient(env.timer(), HANDSHAKE_LIMIT, kj::mv(stream));
  Connection connection(*this, kj::mv(stream), kj::mv(bootstrap), kj::mv(other));
  auto gone = connection.network.onDisconnect();
  co_await gone.exclusiveJoin(kj::mv(connection.dropped.promise));
}

void PeerListener::taskFailed(kj::Exception&& exception) {
  // A connection that breaks is no news.
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  refused("", plainText(exception));
}

void PeerListener::refused(kj::StringPtr from, kj::StringPtr reason) {
  log::LogFields fields;
  if (from.size() > 0) fields.emplace_back("from", kj::str(from));
  fields.emplace_back("reason", kj::str(reason));
  refusals.tell("peer.refused", reason, kj::mv(fields));
}

}  // namespace orch::trust
