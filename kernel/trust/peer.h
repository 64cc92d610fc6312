// The way to another node, for one that knows its address.
#pragma once

#include <capnp/rpc-twoparty.h>

#include "kernel/trust/tls.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::trust {

// Of the TCP connection: hosts that are off do not answer at all.
constexpr kj::Duration CONNECT_LIMIT = 5 * kj::SECONDS;

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

// A TCP connection, with what stands in the way of one.
Task<kj::Own<kj::AsyncIoStream>> reach(Env& env, kj::String address);
// The same with TLS around, to a manager. TLS tells a client that it was refused only afterwards:
// the first call fails then.
Task<kj::Own<PeerLink>> linkToManager(Env& env, kj::TlsContext& tls, kj::String address);

// What joining has brought, for the disk.
struct Credentials {
  std::string key;
  std::string certificate;
  std::string authority;
  std::vector<std::string> managers;
  std::string address;  // of this node
};
// From a token to a certificate, at the first manager of `managers` that gives one. Changes
// nothing.
Task<Credentials> joinCluster(Env& env, kj::String token, std::vector<std::string> managers,
                              std::string address);

}  // namespace orch::trust
