// The resolvers of this node's tasks, as the agent asks for them. On orchd's loop: keeps who has
// one, has worker threads do what blocks and the answering thread the rest.
#pragma once

#include <kj/refcount.h>

#include <map>
#include <string>
#include <vector>

#include "answering-thread.h"
#include "lib/findings.h"
#include "lib/turns.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/log-limit.h"
#include "orch/mailbox.h"
#include "orch/schema/network.capnp.h"

namespace orch::network::dns {

class Resolvers final : public kj::Refcounted {
 public:
  Resolvers(Env& env, Log log, const ServerSettings& settings);
  KJ_DISALLOW_COPY(Resolvers);

  // As in network.capnp.
  Task<void> update(schema::NetworkChange::Reader change);
  Task<void> serve(std::string taskId, std::string path, std::vector<std::string> networks,
                   std::vector<std::string> servers, bool closed);
  Task<void> release(std::string taskId);
  Task<void> retain(std::vector<std::string> taskIds);
  // Whether each task's questions are led to this one.
  Task<Findings> check(bool repair);

 private:
  void warn(const char* id, kj::String reason);
  Task<void> close(std::string taskId);
  Task<Findings> checkOne(std::string taskId, bool repair);

  Env& env;
  Log log;
  LogLimit limit;
  Turns turns;
  std::map<std::string, NamespaceId> served;
  Mailbox mailbox;  // of the thread's complaints
  AnsweringThread thread;
};

}  // namespace orch::network::dns
