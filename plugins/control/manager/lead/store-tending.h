// The servers of a store that runs them itself: they are where the managers are. The leader has
// them added, given a vote and removed, one at a time, by comparing what is there with what is to
// be; a manager that has none asks the leader for it.
#pragma once

#include <kj/function.h>

#include <string>

#include "manager.h"
#include "member/membership.h"
#include "orch/schema/manager.capnp.h"
#include "orch/store-client.h"

namespace orch::control::manager {

// On the loop. All references outlive it.
class StoreTending final {
 public:
  using Servers = kj::Maybe<schema::StoreServers::Client>;
  static constexpr kj::Duration PAUSE = 1 * kj::SECONDS;
  static constexpr kj::Duration SHORT_PAUSE = 200 * kj::MILLISECONDS;  // while something changes

  StoreTending(Env& env, Host& host, Manager& manager, Membership& members);
  KJ_DISALLOW_COPY(StoreTending);

  // Whether the store runs servers itself, and has none on this host.
  Task<bool> isWithout(StoreClient& store);
  // What the change of a server waits for; empty: nothing.
  kj::StringPtr waitsFor() const { return told.c_str(); }
  // Names the servers that this host has one of; empty: it has none.
  Task<std::string> nameOf(StoreClient& store);
  // The first server, if it runs them itself.
  Task<void> found(StoreClient& store);
  // How others reach this host's, if there is one.
  Task<void> settle(StoreClient& store);
  // This host has no server of it from then on, if it runs them itself.
  Task<void> leave(StoreClient& store);

  // For as long as this one leads. `store`: the one that the state is in, asked each time.
  void lead(kj::Function<StoreClient&()> store);
  // For as long as it follows. `store`: of the service that the leader has named, asked each time;
  // nothing if it has not.
  void follow(kj::Function<kj::Own<StoreClient>()> store, schema::ManagerPeer::Client leader);
  void rest() { running = kj::READY_NOW; }
  // By the leader.
  Task<kj::Array<kj::byte>> invite(StoreClient& store, std::string nodeId, std::string address);

 private:
  Task<void> tendOn(kj::Function<StoreClient&()> store);
  // Whether there is nothing left to do.
  Task<bool> tend(StoreClient& store);
  Task<void> joinOn(kj::Function<kj::Own<StoreClient>()> store, schema::ManagerPeer::Client leader);
  // `known`: that a server of this host's is one of the leader's.
  Task<void> join(kj::Own<StoreClient> store, schema::ManagerPeer::Client leader, bool& known);
  // Whether this host has one that is of others than the leader's: they have ended since.
  Task<bool> hasLeftover(StoreClient& store, schema::ManagerPeer::Client leader);
  Task<Servers> serversOf(StoreClient& store);
  void nameSelf(schema::StoreHost::Builder host) const;
  // Once, until it is another one.
  void tell(kj::StringPtr trouble);
  void start(Task<void> work);

  Env& env;
  Host& host;
  Manager& manager;
  Membership& members;
  std::string told;
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::control::manager
