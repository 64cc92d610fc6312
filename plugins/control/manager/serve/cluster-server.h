// The service `cluster`: from calls to requests of the manager and back. Decides nothing.
#pragma once

#include "journal/journal.h"
#include "lead/leadership.h"
#include "manager.h"
#include "member/membership.h"
#include "orch/schema/cluster.capnp.h"
#include "serve/log-streams.h"
#include "serve/network-check.h"
#include "serve/programs.h"
#include "serve/progress.h"
#include "serve/service-requests.h"
#include "serve/usage.h"
#include "serve/volumes.h"
#include "session/sessions.h"

namespace orch::control::manager {

struct ClusterParts {
  Env& env;
  Host& host;
  Manager& manager;
  Membership& members;
  Leadership& leadership;
  LoginSafe& logins;
  Sessions& sessions;
  ProgressTable& progress;
  LogStreams& logs;
  VolumeQueries& volumes;
  NetworkCheck& networkCheck;
  Journal& journal;
  TaskPrograms& programs;
  UsageQueries& usage;
  Config::Reader settings;
  std::string self;  // id of the node whose users ask
};

// `owner` keeps the parts alive.
schema::ClusterControl::Client newClusterServer(kj::Own<kj::Refcounted> owner, ClusterParts parts);

}  // namespace orch::control::manager
