#include "kernel/trust/peer-listener.h"

#include <kj/debug.h>

#include "kernel/rpc/listener.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::trust {

namespace {

constexpr kj::byte TLS_HELLO = 0x16;
constexpr kj::byte PLAIN = 0x00;
constexpr kj::byte JOINER = 'J';
constexpr uint64_t MEMBER_WORDS = 1ull << 24;  // 128 MiB: a complete set of 10,000 tasks fits

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

std::string withoutPort(kj::StringPtr address) {
  KJ_IF_MAYBE (colon, address.findLast(':')) return std::string(address.cStr(), *colon);
  return address.cStr();
}

}  // namespace

struct PeerListener::Connection {
  Connection(PeerListener& listener, std::string id, kj::Own<kj::AsyncIoStream> given,
             capnp::Capability::Client bootstrap, uint64_t words)
      : listener(listener),
        stream(kj::mv(given)),
        network(*stream, capnp::rpc::twoparty::Side::SERVER, limits(words)),
        rpc(capnp::makeRpcServer(network, kj::mv(bootstrap))),
        place(listener.named.emplace(kj::mv(id), this)) {}
  ~Connection() { listener.named.erase(place); }
  static capnp::ReaderOptions limits(uint64_t words) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = words;
    return options;
  }

  PeerListener& listener;
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  kj::PromiseFulfillerPair<void> dropped = kj::newPromiseAndFulfiller<void>();
  std::multimap<std::string, Connection*>::iterator place;
};

PeerListener::PeerListener(Env& env, log::Logger& logger, Shown given, GatewayFor gatewayFor)
    : env(env), logger(logger), gatewayFor(kj::mv(gatewayFor)), tasks(*this) {
  show(kj::mv(given));
}

void PeerListener::show(Shown fresh) {
  shown = kj::mv(fresh);
  members = newTls(env, shown.authority, shown.certificate, shown.key, true);
  joiners = newTls(env, shown.authority, shown.certificate, shown.key, false);
}

Task<void> PeerListener::open(kj::String address) {
  auto parsed = co_await env.network().parseAddress(address);
  auto bound = attemptNow([&]() { return parsed->listen(); });
  if (!bound.ok()) {
    fail(kj::str("cannot listen at '", address, "': ", bound.message(),
                 "; is another program using the port, or is the address not this host's?"));
  }
  receiver = kj::mv(bound.value());
  tasks.add(serve());
}

Task<void> PeerListener::serve() {
  bool failing = false;
  for (;;) {
    // KJ throws at once what accept(2) answers at once.
    auto next = kj::evalNow([this]() { return receiver->acceptAuthenticated(); });
    auto accepted = co_await attempt(kj::mv(next));
    if (!accepted.ok()) {
      if (!failing) told("peer.accept-failed, trying again until it works", "", accepted.message());
      failing = true;
      co_await env.timer().afterDelay(rpc::Listener::RETRY_MS * kj::MILLISECONDS);
      continue;
    }
    failing = false;
    if (open_ >= MAX_CONNECTIONS || strangers >= MAX_STRANGERS) continue;
    tasks.add(greet(kj::mv(accepted.value())));
  }
}

// As long as it is not known who it is, a connection is one of few and has little time.
Task<void> PeerListener::greet(kj::AuthenticatedStream accepted) {
  auto from = accepted.peerIdentity->toString();
  auto source = withoutPort(from);
  if (strangersOf[source] >= STRANGERS_PER_ADDRESS) co_return;
  ++open_;
  ++strangers;
  ++strangersOf[source];
  bool known = false;
  auto recognized = [&]() {
    if (known) return;
    known = true;
    --strangers;
    if (--strangersOf[source] == 0) strangersOf.erase(source);
  };
  KJ_DEFER({
    recognized();
    --open_;
  });
  auto stream = kj::mv(accepted.stream);
  kj::byte first = 0;
  auto silence = env.timer().afterDelay(HANDSHAKE_LIMIT).then([]() { return size_t{0}; });
  size_t n = co_await stream->tryRead(&first, 1, 1).exclusiveJoin(kj::mv(silence));
  if (n == 0) co_return;
  if (first == PLAIN) {
    auto limit = env.timer().afterDelay(HANDSHAKE_LIMIT);
    auto introduction = kj::heap<IntroductionServer>(shown.authority);
    auto serving = serveRpc(putBack(first, kj::mv(stream)), kj::mv(introduction), "", JOINER_WORDS);
    co_await kj::mv(serving).promise().exclusiveJoin(kj::mv(limit));
    co_return;
  }
  bool joiner = first == JOINER;
  if (!joiner && first != TLS_HELLO) {
    told("peer.refused", from, "it speaks neither TLS nor the protocol of joining");
    co_return;
  }
  auto& tls = joiner ? *joiners : *members;
  if (!joiner) stream = putBack(first, kj::mv(stream));
  auto handshake =
      tls.wrapServer(kj::AuthenticatedStream{kj::mv(stream), kj::mv(accepted.peerIdentity)});
  auto wrapped = co_await attempt(kj::mv(handshake));
  if (!wrapped.ok()) {
    told("peer.refused", from, wrapped.message());
    co_return;
  }
  capnp::MallocMessageBuilder message;
  auto peer = message.initRoot<schema::Peer>();
  peer.setAddress(from);
  if (joiner) {
    peer.setRole(schema::Role::JOINER);
    auto limit = env.timer().afterDelay(HANDSHAKE_LIMIT);
    auto serving = serveRpc(kj::mv(wrapped.value().stream), gatewayFor(peer), "", JOINER_WORDS);
    co_await kj::mv(serving).promise().exclusiveJoin(kj::mv(limit));
    co_return;
  }
  auto holder = attemptNow([&]() { return holderOf(*wrapped.value().peerIdentity); });
  if (!holder.ok()) {
    told("peer.refused", from, holder.message());
    co_return;
  }
  recognized();
  peer.setRole(holder.value().role);
  peer.setId(holder.value().id.c_str());
  co_await serveRpc(kj::mv(wrapped.value().stream), gatewayFor(peer), holder.value().id,
                    MEMBER_WORDS);
}

Task<void> PeerListener::serveRpc(kj::Own<kj::AsyncIoStream> stream,
                                  capnp::Capability::Client bootstrap, std::string id,
                                  uint64_t words) {
  Connection connection(*this, kj::mv(id), kj::mv(stream), kj::mv(bootstrap), words);
  auto gone = connection.network.onDisconnect();
  co_await gone.exclusiveJoin(kj::mv(connection.dropped.promise));
}

void PeerListener::drop(const std::string& id) {
  auto [begin, end] = named.equal_range(id);
  for (auto it = begin; it != end; ++it) it->second->dropped.fulfiller->fulfill();
}

void PeerListener::taskFailed(kj::Exception&& exception) {
  // A connection that breaks is no news.
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  told("peer.failed", "", plainText(exception));
}

void PeerListener::told(kj::StringPtr message, kj::StringPtr from, kj::StringPtr reason) {
  log::LogFields fields;
  if (from.size() > 0) fields.emplace_back("from", kj::str(from));
  fields.emplace_back("reason", kj::str(reason));
  logger.write(schema::LogLevel::WARN, message, fields);
}

}  // namespace orch::trust
