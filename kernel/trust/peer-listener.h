// The port of a node for the other hosts of its cluster. The first byte of a connection tells what
// it is (trust.capnp); who it is, its certificate. Each gets a gateway of its own.
#pragma once

#include <capnp/rpc-twoparty.h>

#include <list>
#include <map>
#include <string>

#include "kernel/log/limited-log.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/trust/tls.h"

namespace orch::trust {

// What a peer may reach. Called once per connection, after its certificate was verified.
using GatewayFor = kj::Function<schema::Gateway::Client(schema::Peer::Reader)>;

// A port at `address`. Fails with what stands in the way.
Task<kj::Own<kj::ConnectionReceiver>> listenAt(Env& env, kj::String address);

// What a listener shows of its node.
struct Shown {
  Trusted trusted;
  std::string certificate;
  std::string key;

  std::string chain() const { return certificate + trusted.crossed; }
};

// Listens as long as it lives. `env` and `refusals`
// outlive it.
class PeerListener final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr uint32_t MAX_CONNECTIONS = 20'000;
  // Connections of which it is not known yet who they are; one address has an eighth of them. If
  // there are too many, the oldest of the address that has most goes: others can still come in.
  static constexpr uint32_t MAX_STRANGERS = 512;
  static constexpr uint32_t STRANGERS_PER_ADDRESS = 64;
  // Of one member. One more ends its oldest: what a host has left behind that lost its power.
  static constexpr uint32_t CONNECTIONS_PER_MEMBER = 64;
  // A member that has more than 10,000 questions open, or does not read, ends, too (wary-stream).
  // All that a stranger may say, with TLS around it: several times what joining takes.
  static constexpr uint64_t STRANGER_BYTES = 16 << 10;

  PeerListener(Env& env, log::Refusals& refusals, Shown shown, GatewayFor gatewayFor);
  KJ_DISALLOW_COPY(PeerListener);

  // Binds `address`. Fails with what stands in the way.
  Task<void> open(kj::String address);
  // Ends the connections of all who are there; they may come again.
  void dropMembers();
  // To those who come from now on. Whoever is there stays, but for nodes whose certificates are of
  // an authority that is trusted no more: they come again, and are let go within so long, not all
  // at once.
  static constexpr uint64_t STALE_MS = 10'000;
  void show(Shown fresh);
  uint32_t connections() const { return open_; }
  // That it listens at, once it does.
  uint32_t port() { return receiver->getPort(); }

 private:
  struct Connection;
  struct Stranger;
  // At the other end of a connection.
  struct Other {
    std::string id;
    kj::String from;
    uint64_t words;      // of one message
    std::string signer;  // of its certificate: a digest; of whoever is let in anyhow `ANYBODY`
  };
  static constexpr const char* ANYBODY = "*";
  // Who has signed the certificate. Fails if it is only for admins to be signed by that.
  std::string checkedSigner(kj::PeerIdentity& identity, schema::Role role) const;
  Task<void> serve();
  Task<void> greet(kj::AuthenticatedStream stream);
  Task<void> hear(kj::AuthenticatedStream stream, Stranger& stranger);
  void makeRoom();
  Task<void> shakeHands(kj::AuthenticatedStream stream, bool joiner, Stranger& stranger);
  // Of one whom nobody knows, for a short time.
  Task<void> serveStranger(kj::Own<kj::AsyncIoStream> stream, capnp::Capability::Client bootstrap,
                           kj::String from);
  Task<void> serveRpc(kj::Own<kj::AsyncIoStream> stream, capnp::Capability::Client bootstrap,
                      Other other);
  void taskFailed(kj::Exception&& exception) override;
  void refused(kj::StringPtr from, kj::StringPtr reason);

  Env& env;
  log::Refusals& refusals;
  Shown shown;
  GatewayFor gatewayFor;
  kj::Own<kj::TlsContext> members;
  kj::Own<kj::TlsContext> joiners;
  kj::Own<kj::ConnectionReceiver> receiver;
  uint32_t open_ = 0;
  uint32_t strangers = 0;
  std::map<std::string, std::list<Stranger*>> strangersOf;  // by address without port, in order
  std::multimap<std::string, Connection*> named;
  kj::TaskSet tasks;
};

}  // namespace orch::trust
