// What this node is in a cluster: its credentials on the disk, its port for others, its way to the
// managers. Without credentials it does nothing: a cluster of one host needs none. A manager's may
// be locked: then it has not got its own key, and does nothing until somebody says the lock's.
#pragma once

#include "kernel/trust/peer-listener.h"
#include "kernel/trust/uplink.h"
#include "orch/semaphore.h"

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
  // `given`: empty, if it trusts what it has trusted.
  Task<void> renew(std::string certificate, Trusted given);
  // `key`: of the node's lock; empty: it has none any more.
  Task<void> lock(std::string key);
  Task<void> unlock(std::string key);
  bool locked() const { return !credentials.sealed.empty(); }
  void open();
  Task<void> know(std::vector<std::string> managers);
  // Others reach this node there with the next start.
  Task<void> move(std::string address);
  // Moves when the address of this host is gone, and stays so for a while.
  Task<void> follow();
  void restartSoon();
  bool member() const { return !credentials.certificate.empty(); }
  bool connected() const;
  void describe(schema::TrustState::Builder state) const;
  // One after the other, so that what is on the disk is what has come last. Nothing is written
  // where `edit` says that nothing is new.
  using Edit = kj::Function<bool(Credentials&)>;
  Task<void> change(Edit edit);
  // By whoever is changing them.
  Task<void> store(Credentials fresh);
  Task<void> forget();
  Task<kj::Own<kj::AsyncIoStream>> connect(kj::String address,
                                           schema::Role role = schema::Role::MANAGER);
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
  bool following = false;
  Holder holder;
  std::string digest;      // of the authority that has signed it
  std::string pendingKey;  // of the last request
  std::string lockKey;     // of the node's lock, as long as it is known
  Semaphore changing{1};   // of the credentials
  kj::PromiseFulfillerPair<void> unlocking = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> unlocked = unlocking.promise.fork();
  kj::Maybe<kj::Function<schema::Gateway::Client(schema::Peer::Reader)>> gatewayFor;
  kj::Maybe<kj::Own<PeerListener>> listener;
  kj::Maybe<kj::Own<Uplink>> uplink;
  kj::PromiseFulfillerPair<void> restart = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> restarting = restart.promise.fork();
  bool restarts = false;
  kj::TaskSet tasks;
  kj::Canceler calls;  // last: what it ends uses all of the above
};

}  // namespace orch::trust
