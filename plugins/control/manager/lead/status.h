// What `orch cluster status` says: who leads, how far the other managers are, and how the store is.
#pragma once

#include "lead/leadership.h"

namespace orch::control::manager {

class StatusQueries final {
 public:
  // All outlive it.
  StatusQueries(Env& env, Host& host, Manager& manager, Leadership& leadership, Membership& members)
      : env(env), host(host), manager(manager), leadership(leadership), members(members) {}
  KJ_DISALLOW_COPY(StatusQueries);

  // As the leader knows it, without what is of the manager that is asked.
  Task<void> describe(schema::ClusterStatus::Builder status);
  // As this manager knows it, whatever it is; what does not answer is waited for some seconds.
  Task<void> ask(schema::ClusterControl::StatusResults::Builder results);

 private:
  using Servers = capnp::Response<schema::StoreServers::StateResults>;
  // Those that the store runs itself; nothing if it runs none, or does not say.
  Task<kj::Maybe<Servers>> servers();
  Task<kj::Maybe<Servers>> askServers();
  Task<void> describeStore(schema::StoreStatus::Builder store);
  Task<void> describeUnled(schema::ClusterStatus::Builder status);
  void describeState(schema::ClusterStatus::Builder status) const;
  void describeReach(const std::string& id, schema::ManagerStatus::Builder manager) const;
  // Empty: it answers there.
  Task<kj::String> whyNotReached(kj::String address);
  kj::String roleWord() const;

  Env& env;
  Host& host;
  Manager& manager;
  Leadership& leadership;
  Membership& members;
};

}  // namespace orch::control::manager
