// Who belongs to the cluster: its authority, the tokens to join with, and what other hosts may have
// of this manager. Runs on the loop.
#pragma once

#include <functional>

#include "config.capnp.h"
#include "manager.h"
#include "member/authority.h"
#include "member/external-signer.h"
#include "member/peer-service.h"
#include "member/rendezvous.h"
#include "member/renewer.h"
#include "member/role-watch.h"
#include "member/rotation.h"
#include "orch/log-limit.h"
#include "orch/rate-table.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/trust.capnp.h"
#include "orch/semaphore.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

constexpr kj::StringPtr NOBODY =
    "nobody can join this cluster yet: 'orch init --advertise-addr ADDRESS' makes it known to others"_kj;
// The only one there is.
kj::Maybe<schema::Cluster::Reader> clusterOf(const State& state);

using HostJoin =
    capnp::CallContext<schema::ClusterControl::JoinParams, schema::ClusterControl::JoinResults>;
using NodeJoin = capnp::CallContext<schema::Join::JoinParams, schema::Join::JoinResults>;

// `open` and what it returns are kept alive by `owner`.
class Membership final : private kj::TaskSet::ErrorHandler {
 public:
  // Hosts per second that may join, and how many at once.
  static constexpr uint32_t JOINS_PER_SECOND = 20;
  static constexpr uint32_t JOINS_AT_ONCE = 100;
  // The same of an address's tokens that let nobody in; they take nothing from those that do.
  static constexpr uint32_t GUESSES_PER_SECOND = 1;
  static constexpr uint32_t GUESSES_AT_ONCE = 20;
  // And each node, and each admin, whatever strangers and others ask for.
  static constexpr uint32_t RENEWALS_PER_SECOND = 1;
  static constexpr uint32_t RENEWALS_AT_ONCE = 20;

  Membership(kj::Refcounted& owner, Env& env, Host& host, Manager& manager);
  KJ_DISALLOW_COPY(Membership);

  // What this node is; nothing if its kernel knows of no clusters.
  Task<void> start();
  // What a member does for as long as it is one: once the state is there, of which a manager needs
  // the cluster's.
  void begin();
  bool isMember() const { return member; }
  bool isWorker() const { return member && role == schema::Role::WORKER; }

  // Whether other hosts reach the state, so that they can manage, too.
  void noteShared(bool value) { shared = value; }
  bool isShared() const { return shared; }
  // `by`: sees to it, or fails with what to do, when a host joins as a manager.
  void shareStateBy(kj::Function<kj::Promise<void>()> by) { share = kj::mv(by); }
  // `then`: once others can join, with this node's authority.
  void whenOpened(kj::Function<kj::Promise<void>()> then) { opened = kj::mv(then); }
  // `first`: before this host leaves.
  void whenLeaving(kj::Function<kj::Promise<void>()> first) { leaving = kj::mv(first); }
  // The digest of the authority; empty if this node is in no cluster of several nodes.
  const std::string& cluster() const { return digest; }
  // Addresses that this node knows of, and from now on.
  std::vector<std::string> knownManagers() const;
  Task<void> know(std::vector<std::string> addresses);
  // Of the authority: a manager that has joined gets it from the leader, and again when another one
  // has taken its place. `secret`: its certificate and its key, PEM; `named`: its digest, as the
  // leader says.
  bool hasAuthority() const { return authority != nullptr; }
  bool hasAuthority(kj::StringPtr digest) const;
  std::string authorityDigest() const { return KJ_REQUIRE_NONNULL(authority).digest(); }
  // Fails, with what to do, if nobody can join yet.
  void requireAuthority() const;
  std::string authoritySecret() const;
  // Of the one that this state of the cluster names; nothing if this manager has not got that.
  kj::Maybe<std::string> authoritySecretOf(schema::Cluster::Reader cluster) const;
  // The same of a backup, before this host is a member.
  Task<void> restoreAuthority(std::string secret);
  kj::Array<kj::byte> stateKey() const { return KJ_REQUIRE_NONNULL(authority).stateKey(); }
  Task<void> takeAuthority(std::string secret, std::string named);
  // The one that the state names, if it has taken the place of the one that is there.
  Task<void> followAuthority();
  // Of a host that has left its cluster and begins to decide on what that had: it is one that
  // nobody has joined, unless `open` was interrupted.
  Task<void> forgetCluster();
  // Puts another one in its place (rotation.h): the user's, or without `certificate` and `key` a
  // new one, or with `place` one whose key is there. `certificateMs`: as in ClusterChange. With
  // `place` and `certificate`, which is the cluster's then, that stays: its key is there now.
  struct Wanted {
    std::string certificate, key;
    uint64_t certificateMs = 0;
    kj::Maybe<SigningPlace> place;
  };
  Task<void> rotate(kj::String requestId, Wanted wanted);
  // This node has not got its own key yet, nor the authority's: `unlocked` waits for somebody who
  // knows that of its lock.
  bool isLocked() const { return locked; }
  Task<void> unlocked();
  // Names the key of this node's lock; empty: it has none.
  const std::string& lockName() const { return lock; }
  // Has this node's lock be of that key (trust/lock-box.h), or it have none.
  Task<void> followLock(std::string key);
  // The same, as the state has it. Of whoever leads, or is about to; a failure is told.
  Task<void> followStatesLock();
  // The key of all managers' locks, as the state has it; empty: they have none. Fails if this one
  // cannot read it.
  std::string lockKey() const;
  // OFF: managers are not locked any more. ON: they are, with the key that there is. FRESH: with
  // another one from now on; fails if they are not.
  enum class Lock { OFF, ON, FRESH };
  Task<void> changeLock(kj::String requestId, Lock wanted);
  // Whether the state may be of the cluster that this node is in.
  bool isOf(schema::Cluster::Reader cluster) const;

  // Others can join from the answer on. The address that they reach this node at; empty if the host
  // has none. Asked again, it completes what a crash has interrupted.
  // A member already gets another address, with a start of orchd. Fails if it is not the node
  // itself that asks for that: another manager means its own.
  // `place`: of an authority that has its key there, unless the cluster has one.
  Task<kj::String> open(kj::String wanted, kj::String asker,
                        kj::Maybe<SigningPlace> place = nullptr);
  // Fails, with what to do, if `open` could not make an authority of that place.
  Task<void> tryPlace(SigningPlace place, uint64_t certificateMs);
  // That others are to reach this node at: `wanted`, or the only one that the host has. Empty if it
  // has none.
  Task<kj::String> addressFor(kj::String wanted);
  // `ORCHTKN-1-…`; fails if nobody can join yet.
  kj::String token(schema::Role role) const;
  kj::StringPtr address() const { return ownAddress; }
  // `10.0.0.1:2377, …` as this node knows them.
  kj::String managerList() const { return kj::strArray(managers, ", "); }
  // What this node is at the moment, without the authority's certificate.
  Task<void> describeSelf(schema::TrustState::Builder self);
  // PEM, for whoever the request is of. Fails if nobody can join yet, and while the authority is
  // not the state's: `followAuthority` first.
  Task<std::string> certificateFor(kj::String request, schema::Role role, kj::String id);
  // What one of that role trusts. Fails if there is no cluster.
  trust::Trusted trusted(schema::Role role) const;
  // That others reach managers at.
  std::vector<std::string> managerAddresses() const;
  // For joiners, and for nodes whose certificates come to their end.
  capnp::Capability::Client joining(schema::Peer::Reader peer);
  capnp::Capability::Client renewing(schema::Peer::Reader peer);
  // A certificate for whoever has one already. Fails if it asks for too many.
  Task<std::string> renewed(kj::String request, schema::Role role, kj::String id);
  // This host in another cluster, or again in one of its own.
  Task<void> join(HostJoin context);
  Task<void> leave();
  void stop() {
    renewer.stop();
    rendezvous.stop();
    absent = kj::READY_NOW;
  }

 private:
  class JoinServer;
  class RenewalServer;
  using AwaitRole =
      capnp::CallContext<schema::Renewal::AwaitRoleParams, schema::Renewal::AwaitRoleResults>;
  Task<void> awaitRole(AwaitRole context, std::string nodeId);
  void announce();
  void noteTrusted(std::string cluster);
  Task<void> readAuthority();
  Task<std::string> dataKey();
  Task<Authority> ownAuthority(kj::String name, std::string certificate);
  // Of which others have the key, in the place of `before`, if any.
  Task<Authority> externalAuthority(SigningPlace place, kj::Maybe<Authority> before,
                                    int64_t lifetimeNs);
  Task<Authority> firstAuthority(SigningPlace place, int64_t lifetimeNs);
  Task<Authority> nextAuthority(Authority own, Wanted wanted, int64_t lifetimeNs);
  Task<std::string> crossedBy(Authority own, Authority next);
  // Tried, whichever one it is.
  Task<Successor> successorOf(Authority own, Wanted wanted, int64_t lifetimeNs);
  // A certificate that nobody gets, for a check of the authority.
  Task<std::string> trialOf(Authority of, kj::Maybe<SigningPlace> place);
  // Fails if nobody can join it, or while the authority is not the state's.
  schema::Cluster::Reader ownCluster() const;
  Task<void> lockAsState();
  Task<void> keepLocking();
  Task<void> signThere(kj::String requestId, SigningPlace place, std::string certificate);
  Task<void> keep(Authority fresh);
  // Nothing of it is on the disk afterwards.
  Task<void> dropAuthority();
  Task<void> write(std::string secret, bool encrypted);
  struct Joiner;
  struct Joined {
    std::string nodeId;
    schema::Role role;
    std::string certificate;
  };
  Task<void> doJoin(NodeJoin context, std::string from);
  // The role that the secret of its token lets it in as.
  schema::Role admitted(const std::string& secret, const std::string& from);
  Task<Joined> letIn(kj::Own<Joiner> joiner, std::string secret, std::string request,
                     std::string from);
  Task<void> takeBackUnanswered(kj::Promise<Joined> letting);
  // The node is none, unless it has been here. A failure is told.
  Task<void> takeBack(std::string nodeId);
  // Those that have never come, for as long as this is a member.
  Task<void> takeBackAbsent();
  void taskFailed(kj::Exception&& exception) override;
  void refused(const std::string& from, kj::StringPtr reason);

  kj::Refcounted& owner;
  Env& env;
  Host& host;
  Manager& manager;
  schema::Trust::Client trust = nullptr;
  bool known = false;   // whether there is a `trust`
  bool member = false;  // of a cluster of several nodes
  bool leaves = false;  // and keeps nothing any more
  schema::Role role = schema::Role::WORKER;
  kj::String ownAddress;
  std::string digest;
  bool shared = false;
  kj::Maybe<kj::Function<kj::Promise<void>()>> share, opened, leaving;
  bool locked = false;
  std::string lock;
  kj::Vector<kj::String> managers;
  std::string file;  // of the authority
  kj::Maybe<Authority> authority;
  ExternalSigner external;
  bool unknownTold = false;  // that the state names one whose key is not here
  Semaphore following{1};    // while another one is put in its place on the disk
  kj::Promise<void> locking = kj::READY_NOW;
  kj::Promise<void> absent = kj::READY_NOW;
  RateTable joins{JOINS_PER_SECOND, JOINS_AT_ONCE};  // of all strangers together
  RateTable guesses{GUESSES_PER_SECOND, GUESSES_AT_ONCE};
  RateTable renewals{RENEWALS_PER_SECOND, RENEWALS_AT_ONCE};
  LogLimit refusals;
  RoleWatch roles;
  Renewer renewer;
  Rendezvous rendezvous;
  kj::TaskSet unanswered{*this};  // of hosts that have gone
};

// Fails with what is accepted.
void checkChange(schema::ClusterChange::Reader change);
// In a request's decision.
void updateCluster(View& view, schema::ClusterChange::Reader change);
void rotateSecret(View& view, schema::Role role);
void updateNode(View& view, std::string_view id, schema::NodeChange::Reader change);
// After that, of a manager that is demoted: fails if no other one is left that could lead.
void checkManagers(const View& view, const std::string& id,
                   const std::function<bool(const std::string&)>& couldLead);
// Fails if the node, called `name` by whoever asks, has to stay.
void checkRemoval(const State& state, const std::string& id, kj::StringPtr name, bool force);
// Its tasks count as ended.
void removeNode(View& view, std::string_view id);

}  // namespace orch::control::manager
