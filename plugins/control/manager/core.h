// All parts of the manager, put together. Kept alive by the plugin and by every capability that was
// handed out.
#pragma once

#include "journal/journal.h"
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
  Task<void> createCluster();
  capnp::Capability::Client openDispatcher(schema::Peer::Reader peer);

  Env& env;
  Host& host;
  Config::Reader settings;
  Manager manager;
  Membership members;
  Admins admins;
  LoginSafe logins;
  Sessions sessions;
  ProgressTable progress;
  LogStreams logs;
  VolumeQueries volumes;
  NetworkCheck networkCheck;
  Journal journal;
  TaskPrograms programs;
};

}  // namespace orch::control::manager
