// Who belongs to the cluster: its authority, the tokens to join with, and what other hosts may have
// of this manager. Runs on the loop.
#pragma once

#include "config.capnp.h"
#include "manager.h"
#include "member/authority.h"
#include "member/peer-service.h"
#include "member/rendezvous.h"
#include "member/renewer.h"
#include "orch/log-limit.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

using HostJoin =
    capnp::CallContext<schema::ClusterControl::JoinParams, schema::ClusterControl::JoinResults>;
using NodeJoin = capnp::CallContext<schema::Join::JoinParams, schema::Join::JoinResults>;

// `open` and what it returns are kept alive by `owner`.
class Membership final {
 public:
  // Certificates per second that strangers may ask for, and how many at once.
  static constexpr uint32_t JOINS_PER_SECOND = 20;
  static constexpr uint32_t JOINS_AT_ONCE = 100;

  Membership(kj::Refcounted& owner, Env& env, Host& host, Manager& manager);
  KJ_DISALLOW_COPY(Membership);

  // What this node is; nothing if its kernel knows of no clusters.
  Task<void> start();
  // What a member does for as long as it is one: once the state is there, of which a manager needs
  // the cluster's.
  void begin();
  bool isMember() const { return member; }
  bool isWorker() const { return member && role == schema::Role::WORKER; }

  // Others can join from the answer on. The address that they reach this node at; empty if the host
  // has none. Asked again, it completes what a crash has interrupted.
  Task<kj::String> open(kj::String wanted);
  // `ORCHTKN-1-…`; fails if nobody can join yet.
  kj::String token(schema::Role role) const;
  kj::StringPtr address() const { return ownAddress; }
  // `10.0.0.1:2377, …` as this node knows them.
  kj::String managerList() const { return kj::strArray(managers, ", "); }
  // What this node is at the moment, without the authority's certificate.
  Task<void> describeSelf(schema::TrustState::Builder self);
  // PEM, for whoever the request is of. Fails if nobody can join yet.
  std::string certificateFor(kj::StringPtr request, schema::Role role, kj::StringPtr id);
  const std::string& authorityCertificate() const {
    return KJ_ASSERT_NONNULL(authority).certificate();
  }
  // That others reach managers at.
  std::vector<std::string> managerAddresses() const;
  // For joiners, and for nodes whose certificates come to their end.
  schema::PeerService::Client joining();
  capnp::Capability::Client renewing(schema::Peer::Reader peer);
  // A certificate for whoever has one already. Fails if too many are asked for.
  std::string renewed(kj::StringPtr request, schema::Role role, kj::StringPtr id);
  // This host in another cluster, or again in one of its own.
  Task<void> join(HostJoin context);
  Task<void> leave();
  void stop() {
    renewer.stop();
    rendezvous.stop();
  }

 private:
  class JoinServer;
  class RenewalServer;
  kj::Promise<kj::String> ownRenewal(kj::String request);
  Task<Authority> ownAuthority(kj::String name);
  Task<void> doJoin(NodeJoin context, std::string from);
  void refused(const std::string& from, kj::StringPtr reason);
  // Counts one, if it is not one too many.
  bool mayJoin();

  kj::Refcounted& owner;
  Env& env;
  Host& host;
  Manager& manager;
  schema::Trust::Client trust = nullptr;
  bool known = false;   // whether there is a `trust`
  bool member = false;  // of a cluster of several nodes
  schema::Role role = schema::Role::WORKER;
  kj::String ownAddress;
  kj::String clusterDigest;
  kj::Vector<kj::String> managers;
  std::string file;  // of the authority
  kj::Maybe<Authority> authority;
  double joinsLeft = JOINS_AT_ONCE;
  int64_t joinsCountedNs = 0;
  LogLimit refusals;
  Renewer renewer;
  Rendezvous rendezvous;
};

// In a request's decision.
void updateCluster(View& view, schema::ClusterChange::Reader change);
void rotateSecret(View& view, schema::Role role);
void updateNode(View& view, std::string_view id, schema::NodeChange::Reader change);
// Its tasks count as ended.
void removeNode(View& view, std::string_view id);

}  // namespace orch::control::manager
