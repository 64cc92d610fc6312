// A worker's way to the managers: one connection, kept up. What the manager has for this node
// stands in the node's registry as if it ran here, and is not running while there is no connection.
#pragma once

#include "kernel/log/logger.h"
#include "kernel/rpc/registry.h"
#include "kernel/trust/join.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/trust/manager-search.h"

namespace orch::trust {

// Lives on the loop; what it is given outlives it.
class Uplink final {
 public:
  Uplink(Env& env, log::Logger& logger, rpc::Registry& registry,
         const std::vector<std::string>& managers, ManagerSearch::Connect connect);
  // Goes on for ever. Managers are looked for with pauses that grow to a second.
  Task<void> run();
  bool connected() const { return !offered.empty(); }
  // Where managers may be found, too.
  void suggest(std::vector<std::string> managers) { search.suggest(kj::mv(managers)); }

 private:
  // Until the connection breaks, or the other end has not answered for ANSWER_LIMIT.
  Task<void> hold();
  Task<void> keepAsking(schema::Gateway::Client gateway);
  void withdraw();

  Env& env;
  log::Logger& logger;
  rpc::Registry& registry;
  ManagerSearch search;
  std::vector<std::string> offered;
  std::string from;                                   // empty: there is no connection
  kj::TimePoint since = kj::origin<kj::TimePoint>();  // there is
};

}  // namespace orch::trust
