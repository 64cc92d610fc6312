// The way to another host of a cluster, for one that knows its address.
#pragma once

#include <capnp/rpc-twoparty.h>

#include "orch/fail.h"
#include "orch/trust/tls.h"

namespace orch::trust {

// Of the TCP connection: hosts that are off do not answer at all.
constexpr kj::Duration CONNECT_LIMIT = 5 * kj::SECONDS;
// Of a connection whose other host says nothing at all any more, neither does its kernel.
constexpr kj::Duration SILENCE_LIMIT = 10 * kj::SECONDS;

// One connection. Its capabilities end with it.
class PeerLink final {
 public:
  explicit PeerLink(kj::Own<kj::AsyncIoStream> stream);
  template <typename T>
  typename T::Client bootstrap() {
    return client.bootstrap().castAs<T>();
  }
  kj::Promise<void> onDisconnect() { return client.onDisconnect(); }

 private:
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyClient client;
};

// Fails when it takes longer.
template <typename T>
kj::Promise<T> limited(Env& env, kj::Promise<T> promise, kj::Duration limit) {
  return promise.exclusiveJoin(env.timer().afterDelay(limit).then(
      [limit]() -> T { fail(kj::str("it did not answer within ", limit / kj::SECONDS, " s")); }));
}

// A TCP connection, with what stands in the way of one. It breaks when the other host is off.
Task<kj::Own<kj::AsyncIoStream>> reach(Env& env, kj::String address);
// TLS over it, to a manager, or whom else the name stands for (tls.h).
Task<kj::Own<kj::AsyncIoStream>> secure(Env& env, kj::TlsContext& tls,
                                        kj::Own<kj::AsyncIoStream> stream,
                                        kj::StringPtr name = MANAGER_NAME);
// The same, with who is at the other end.
Task<kj::AuthenticatedStream> secureKnown(Env& env, kj::TlsContext& tls,
                                          kj::Own<kj::AsyncIoStream> stream,
                                          kj::StringPtr name = MANAGER_NAME);
// Both. TLS tells a client that it was refused only afterwards: the first call fails then, with
// what `tlsReason` makes a sentence of.
Task<kj::Own<kj::AsyncIoStream>> reachManager(Env& env, kj::TlsContext& tls, kj::String address,
                                              kj::StringPtr name = MANAGER_NAME);

Task<kj::AuthenticatedStream> reachKnown(Env& env, kj::TlsContext& tls, kj::String address,
                                         kj::StringPtr name = MANAGER_NAME);

}  // namespace orch::trust
