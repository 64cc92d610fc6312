// All parts of the manager, put together. Kept alive by the plugin and by every capability that was
// handed out.
#pragma once

#include <map>

#include "journal/journal.h"
#include "lead/backups.h"
#include "lead/manager-peer.h"
#include "member/admins.h"
#include "member/membership.h"
#include "orch/plugin.h"
#include "serve/cluster-server.h"

namespace orch::control::manager {

class Core final : public kj::Refcounted {
 public:
  Core(Env& env, Host& host, Config::Reader settings);

  Task<Services> start();
  Task<void> stop();

 private:
  Task<void> beginLead(const kj::Maybe<Leadership::Former>& former);
  // When somebody has unlocked it.
  Task<void> startLater();
  Task<void> createCluster();
  void checkSettings() const;
  // As the users of a node have it.
  schema::ClusterControl::Client clusterFor(std::string nodeId);
  // For those who are at this node's port, when it leads.
  capnp::Capability::Client openForPeer(kj::StringPtr service, schema::Peer::Reader peer);
  capnp::Capability::Client openDispatcher(schema::Peer::Reader peer);
  schema::PeerService::Client frontOf(kj::StringPtr service);
  Task<capnp::Capability::Client> ownRenewal();
  Task<capnp::Capability::Client> clusterTasks();
  capnp::Capability::Client askLeader(schema::ManagerPeer::Client leader,
                                      kj::StringPtr service) const;
  void fillSelf(schema::Peer::Builder peer) const;

  Env& env;
  Host& host;
  Config::Reader settings;
  Manager manager;
  Membership members;
  Leadership leadership;
  Admins admins;
  LoginSafe logins;
  ClusterFeed clusterFeed;
  Sessions sessions;
  ProgressTable progress;
  LogStreams logs;
  VolumeQueries volumes;
  NetworkCheck networkCheck;
  Journal journal;
  TaskPrograms programs;
  UsageQueries usage;
  StatusQueries status;
  Backups backups;
  PeerParts peers;
  kj::Promise<void> waiting = kj::READY_NOW;
};

}  // namespace orch::control::manager
