#include "orch/trust/peer-link.h"

#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/wary-stream.h"

namespace orch::trust {

PeerLink::PeerLink(kj::Own<kj::AsyncIoStream> given) : stream(kj::mv(given)), client(*stream) {}

Task<kj::Own<kj::AsyncIoStream>> reach(Env& env, kj::String address) {
  auto parsed = co_await env.network().parseAddress(address);
  auto connecting = parsed->connect();
  auto connected = co_await attempt(limited(env, kj::mv(connecting), CONNECT_LIMIT));
  if (!connected.ok()) fail(kj::str(systemReason(connected.message())));
  keepAlive(*connected.value(), SILENCE_LIMIT);
  co_return kj::mv(connected.value());
}

Task<kj::AuthenticatedStream> secureKnown(Env& env, kj::TlsContext& tls,
                                          kj::Own<kj::AsyncIoStream> stream, kj::StringPtr name) {
  kj::AuthenticatedStream plain{kj::mv(stream), kj::UnknownPeerIdentity::newInstance()};
  auto wrapping = tls.wrapClient(kj::mv(plain), name);
  auto wrapped = co_await attempt(limited(env, kj::mv(wrapping), HANDSHAKE_LIMIT));
  if (!wrapped.ok()) fail(tlsReason(wrapped.message()));
  co_return kj::mv(wrapped.value());
}

Task<kj::Own<kj::AsyncIoStream>> secure(Env& env, kj::TlsContext& tls,
                                        kj::Own<kj::AsyncIoStream> stream, kj::StringPtr name) {
  auto secured = co_await secureKnown(env, tls, kj::mv(stream), name);
  co_return kj::mv(secured.stream);
}

Task<kj::AuthenticatedStream> reachKnown(Env& env, kj::TlsContext& tls, kj::String address,
                                         kj::StringPtr name) {
  auto stream = co_await reach(env, kj::mv(address));
  co_return co_await secureKnown(env, tls, kj::mv(stream), name);
}

Task<kj::Own<kj::AsyncIoStream>> reachManager(Env& env, kj::TlsContext& tls, kj::String address,
                                              kj::StringPtr name) {
  auto reached = co_await reachKnown(env, tls, kj::mv(address), name);
  co_return kj::mv(reached.stream);
}

}  // namespace orch::trust
