#include "orch/trust/peer-link.h"

#include <kj/debug.h>

#include "orch/attempt.h"

namespace orch::trust {

PeerLink::PeerLink(kj::Own<kj::AsyncIoStream> given) : stream(kj::mv(given)), client(*stream) {}

Task<kj::Own<kj::AsyncIoStream>> reach(Env& env, kj::String address) {
  auto parsed = co_await env.network().parseAddress(address);
  auto connecting = parsed->connect();
  auto connected = co_await attempt(limited(env, kj::mv(connecting), CONNECT_LIMIT));
  if (!connected.ok()) fail(kj::str(systemReason(connected.message())));
  co_return kj::mv(connected.value());
}

Task<kj::Own<kj::AsyncIoStream>> secure(Env& env, kj::TlsContext& tls,
                                        kj::Own<kj::AsyncIoStream> stream) {
  auto wrapping = tls.wrapClient(kj::mv(stream), MANAGER_NAME);
  auto wrapped = co_await attempt(limited(env, kj::mv(wrapping), HANDSHAKE_LIMIT));
  if (!wrapped.ok()) fail(tlsReason(wrapped.message()));
  co_return kj::mv(wrapped.value());
}

Task<kj::Own<kj::AsyncIoStream>> reachManager(Env& env, kj::TlsContext& tls, kj::String address) {
  auto stream = co_await reach(env, kj::mv(address));
  co_return co_await secure(env, tls, kj::mv(stream));
}

}  // namespace orch::trust
