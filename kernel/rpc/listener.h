// The Unix socket of a node. Who may open it, by its file permissions, may do everything.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/io.h>

#include <string>

#include "kernel/log/logger.h"
#include "orch/env.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::rpc {

// Serves `gateway` on <runDir>/orchd.sock (mode 0660) as long as it lives; removes the socket then.
// Refuses to start while another orchd holds <runDir>/orchd.lock, and names its pid.
class Listener final {
 public:
  static constexpr uint32_t MAX_CONNECTIONS = 1024;  // one more is closed as soon as it comes
  static constexpr uint32_t RETRY_MS = 100;          // after an accept that failed

  Listener(Env& env, log::Logger& logger, const std::string& runDir,
           schema::Gateway::Client gateway, uint32_t maxConnections = MAX_CONNECTIONS);
  ~Listener() noexcept(false);
  KJ_DISALLOW_COPY(Listener);

  // Never ends: an accept that fails, as for want of descriptors, is logged and tried again.
  Task<void> serve();
  uint32_t connections() const { return open; }

 private:
  void told(schema::LogLevel level, kj::StringPtr message, kj::StringPtr reason);

  Env& env;
  log::Logger& logger;
  std::string socketPath;
  kj::AutoCloseFd lock;
  const uint32_t maxConnections;
  uint32_t open = 0;  // before the server, whose connections count themselves out
  capnp::TwoPartyServer server;
  kj::Own<kj::ConnectionReceiver> receiver;
};

}  // namespace orch::rpc
