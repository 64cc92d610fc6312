// A worker's way to the managers: one connection, kept up. What the manager has for this node
// stands in the node's registry as if it ran here, and is not running while there is no connection.
#pragma once

#include "kernel/log/logger.h"
#include "kernel/rpc/registry.h"
#include "kernel/trust/join.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::trust {

// Lives on the loop; what it is given outlives it.
class Uplink final {
 public:
  // A way to the manager at an address.
  using Connect = kj::Function<Task<kj::Own<kj::AsyncIoStream>>(kj::String address)>;
  Uplink(Env& env, log::Logger& logger, rpc::Registry& registry,
         const std::vector<std::string>& managers, Connect connect);
  // Goes on for ever: one manager after the other, with pauses that grow to a second.
  Task<void> run();
  bool connected() const { return !offered.empty(); }
  // Where managers may be found, too.
  void suggest(std::vector<std::string> managers) { suggested = kj::mv(managers); }

 private:
  // Until the connection breaks, or the other end has not answered for ANSWER_LIMIT.
  Task<void> hold(kj::String address);
  Task<void> keepAsking(schema::Gateway::Client gateway);
  void withdraw();

  Env& env;
  log::Logger& logger;
  rpc::Registry& registry;
  const std::vector<std::string>& managers;
  Connect connect;
  std::vector<std::string> suggested;
  std::vector<std::string> offered;
};

}  // namespace orch::trust
