// What this node is in a cluster: its credentials on the disk, its port for others, its way to the
// managers. Without credentials it does nothing: a cluster of one host needs none.
#pragma once

#include "kernel/trust/peer-listener.h"
#include "kernel/trust/uplink.h"

namespace orch::trust {

// load · begin · (runs). `env`, `logger` and `registry` outlive it and its capability.
class Trust final : private kj::TaskSet::ErrorHandler {
 public:
  // `listen`: of the manifest; empty: the address that others are told.
  Trust(Env& env, log::Logger& logger, rpc::Registry& registry, std::string dataDir,
        std::string listen);
  KJ_DISALLOW_COPY(Trust);

  Task<void> load();
  // Listens and connects, as far as there are credentials.
  Task<void> begin(kj::Function<schema::Gateway::Client(schema::Peer::Reader)> gatewayFor);
  // The certificate's; empty if there is none.
  kj::StringPtr nodeId() const { return holder.id.c_str(); }
  schema::Trust::Client service();
  // Of other hosts, by whoever refuses them something.
  log::Refusals& refusals() { return refused; }
  // Settles when somebody has asked for a restart.
  kj::Promise<void> onRestart() { return restarting.addBranch(); }

 private:
  class Server;
  Task<void> renew(std::string certificate);
  bool member() const { return !credentials.certificate.empty(); }
  bool connected() const;
  void describe(schema::TrustState::Builder state) const;
  Task<void> store(Credentials fresh);
  Task<void> forget();
  Task<kj::Own<kj::AsyncIoStream>> connect(kj::String address);
  Task<void> listen();
  // A port for others with these. Fails with what stands in the way.
  Task<kj::Own<PeerListener>> bind(Credentials with);
  void takeIn(Credentials fresh);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  log::Logger& logger;
  rpc::Registry& registry;
  log::Refusals refused;
  const std::string file;
  const std::string listenAddress;
  Credentials credentials;
  bool left = false;  // until the next start
  Holder holder;
  std::string digest;
  std::string pendingKey;  // of the last request
  kj::Maybe<kj::Function<schema::Gateway::Client(schema::Peer::Reader)>> gatewayFor;
  kj::Maybe<kj::Own<PeerListener>> listener;
  kj::Maybe<kj::Own<Uplink>> uplink;
  kj::PromiseFulfillerPair<void> restart = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> restarting = restart.promise.fork();
  kj::TaskSet tasks;
};

}  // namespace orch::trust
